"""A missing file or model that the settings name is reported before a process starts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from phoenix.catalog.catalog import CatalogError
from phoenix.cli.app import app
from phoenix.cli.preflight import check_named
from phoenix.media.ssrf import CaFileUnusable
from phoenix.settings import EngineSettings, MediaSettings, Settings, WebhookSettings


def check(settings: Settings) -> None:
    check_named(settings, serves_api=True, serves_media=True)


def test_the_defaults_name_nothing_that_is_missing():
    check(Settings())


def test_a_default_model_outside_the_catalog_is_named_with_the_models_in_it():
    with pytest.raises(CatalogError, match=r"DEFAULT_MODEL: there is no model 'sora'; there are: animatic"):
        check(Settings(engine=EngineSettings(default_model="sora")))


def test_a_model_to_warm_up_outside_the_catalog_is_named():
    with pytest.raises(CatalogError, match=r"WARM_MODELS: there is no model 'sora'; there are: animatic"):
        check(Settings(engine=EngineSettings(warm_models=("animatic", "sora"))))


def test_a_missing_catalog_is_named():
    with pytest.raises(CatalogError, match=r"/nonexistent\.toml"):
        check(Settings(engine=EngineSettings(catalog_file=Path("/nonexistent.toml"))))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_named(content: str | None, tmp_path: Path):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    for settings in (
        Settings(media=MediaSettings(fetch_ca_file=file)),
        Settings(webhooks=WebhookSettings(ca_file=file)),
    ):
        with pytest.raises(CaFileUnusable, match=str(file)):
            check(settings)


def test_a_process_does_not_look_for_files_that_only_others_need():
    settings = Settings(webhooks=WebhookSettings(ca_file=Path("/nonexistent.pem")))
    check_named(settings, serves_api=False, serves_media=True)


@pytest.mark.parametrize(("name", "value"), [("MODELS", '{"sora-2": "sora"}'), ("EDIT_MODEL", "sora")])
def test_names_for_a_model_that_does_not_exist_are_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(f"PHOENIX_VIDEOS__{name}", value)
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["api"])
    assert (result.exit_code, result.stderr.split()[0]) == (1, f"PHOENIX_VIDEOS__{name}:")


@pytest.mark.parametrize("command", ["api", "worker", "up"])
@pytest.mark.parametrize(("name", "value"), [("DEFAULT_MODEL", "sora"), ("WARM_MODELS", "sora")])
def test_servers_end_with_the_reason_alone(
    command: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(f"PHOENIX_ENGINE__{name}", value)
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, [command])
    assert (result.exit_code, result.stderr.split()[0]) == (1, f"PHOENIX_ENGINE__{name}:")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["api", "up"])
def test_a_server_that_every_web_page_could_use_does_not_start(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PHOENIX_API__CORS_ORIGINS", "*")
    monkeypatch.setenv("PHOENIX_API__CORS_CREDENTIALS", "false")
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, [command])
    assert (result.exit_code, result.stderr.split()[0]) == (1, "PHOENIX_API__CORS_ORIGINS")
    assert list(tmp_path.iterdir()) == []
