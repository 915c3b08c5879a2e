"""The messages for wrong inputs, before a request or a start."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from phoenix.cli.app import app
from phoenix.cli.console import exit_on_error
from phoenix.cli.doctor import unknown_names
from phoenix.errors import FieldError, InvalidRequest, SchemaOutdated, Unavailable


def refused(*arguments: str) -> str:
    """The text of the error, without the line breaks of the terminal."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.replace("│", " ").split())


def shown_by(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(typer.Exit), exit_on_error():
        raise error
    return capsys.readouterr().err


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "ftp://host"])
def test_an_address_that_is_no_url_is_refused_as_one(url: str):
    assert "is not a URL" in refused("models", "--url", url)


def test_the_path_of_the_api_is_no_part_of_the_servers_address():
    assert "without /v1" in refused("jobs", "list", "--url", "http://127.0.0.1:8080/v1/")


def test_a_video_that_could_not_be_written_is_refused_before_it_is_rendered(tmp_path: Path):
    assert "name a file in it" in refused("generate", "x", "-o", str(tmp_path))
    assert "does not exist" in refused("generate", "x", "-o", str(tmp_path / "no" / "reel.mp4"))


@pytest.mark.parametrize("command", ["plan", "generate"])
def test_all_faults_of_a_reel_are_shown_at_once(command: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PHOENIX_URL", raising=False)
    shown = refused(command, "x", "--fps", "999", "--duration", "400")
    assert [shown.count(pointer) for pointer in ("/fps:", "/duration_s:")] == [1, 1]


def test_bench_names_all_faults_too():
    shown = refused("bench", "animatic", "--fps", "999", "--duration", "400")
    assert ("/fps:" in shown, "/duration_s:" in shown) == (True, True)


def test_an_unreadable_picture_is_named_beside_other_faults(tmp_path: Path):
    (tmp_path / "a.png").write_text("no picture")
    shown = refused("plan", "x", "--fps", "999", "--image", str(tmp_path / "a.png"))
    assert ("/fps:" in shown, "not a sound, picture or video" in shown) == (True, True)


def test_a_device_that_cannot_exist_is_refused_before_workers_are_started():
    assert "there is no device 'gpu0'" in refused("worker", "--device", "gpu0")


@pytest.mark.parametrize("content", [None, "a = ["])
def test_a_settings_file_that_cannot_be_read_is_named(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "phoenix.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("PHOENIX_CONFIG", str(file))
    assert "PHOENIX_CONFIG" in refused("plan", "x")


def test_a_variable_that_nothing_reads_is_found():
    environment = {"PHOENIX_SHEDULER__LEASE_S": "9", "PHOENIX_SCHEDULER__LEASE_S": "9", "PHOENIX_URL": "x", "HOME": "/"}
    assert unknown_names(environment) == ["PHOENIX_SHEDULER__LEASE_S"]


def test_a_single_error_is_shown_once(capsys: pytest.CaptureFixture[str]):
    shown = shown_by(InvalidRequest("/fps: too many", field_errors=[FieldError("/fps", "too many")]), capsys)
    assert shown.splitlines() == ["INVALID_REQUEST: /fps: too many"]


def test_of_several_errors_each_is_shown_once(capsys: pytest.CaptureFixture[str]):
    faults = [FieldError("/fps", "too many"), FieldError("/steps", "too few")]
    shown = shown_by(InvalidRequest("/fps: too many (and 1 more)", field_errors=faults), capsys)
    assert shown.splitlines() == ["INVALID_REQUEST: /fps: too many", "  /steps: too few"]


def test_without_its_database_a_command_names_the_doctor(capsys: pytest.CaptureFixture[str]):
    assert "phoenix doctor" in shown_by(Unavailable("The database is away."), capsys)


def test_without_its_tables_a_command_names_what_makes_them(capsys: pytest.CaptureFixture[str]):
    shown = shown_by(SchemaOutdated(), capsys)
    assert ("phoenix db upgrade" in shown, "phoenix doctor" in shown) == (True, False)


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_a_lora_that_the_model_lacks_is_refused_before_a_server_starts(command: str):
    result = CliRunner().invoke(app, [command, "x", "--lora", "film:0.5"])
    assert result.exit_code == 1
    assert "/loras/0/id: animatic has no LoRA 'film'; it has: none" in result.output
    assert "private server" not in result.output
