"""A child reads from its environment exactly the settings of its parent."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from phoenix.settings import (
    ApiSettings,
    AuthMode,
    DatabaseSettings,
    EngineSettings,
    MediaSettings,
    RedisSettings,
    Settings,
    StorageSettings,
    load_settings,
)
from phoenix.worker.child_process import child_environment

UNUSUAL = {
    "data_dir": Path("/srv/phoenix"),
    "auth": AuthMode.REQUIRED,
    "database": DatabaseSettings(url="postgresql://u:p@db/x?a=b", encryption_keys=(SecretStr("A" * 43 + "="),)),
    "redis": RedisSettings(url="redis://:secret@cache:6379/3", prefix="other"),
    "storage": StorageSettings(url="s3://bucket/x", s3_access_key_id="id", s3_secret_access_key=SecretStr("s3cret")),
    "api": ApiSettings(cors_origins=("https://a.example", "https://b.example")),
    "engine": EngineSettings(catalog_file=Path("/srv/models.toml")),
    "media": MediaSettings(fetch_ports=(443, 8443)),
}


@pytest.fixture
def as_child(monkeypatch: pytest.MonkeyPatch) -> object:
    """Reads settings as a process with that environment would."""

    def read(environment: dict[str, str]) -> Settings:
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return read


@pytest.mark.parametrize("values", [{"data_dir": Path("/srv/phoenix")}, UNUSUAL], ids=["defaults", "unusual"])
def test_a_child_has_its_parent_s_settings(as_child: object, values: dict[str, object]) -> None:
    assert callable(as_child)
    settings = Settings.model_validate(values)
    assert as_child(child_environment(settings, {})) == settings


def test_what_the_parent_was_given_otherwise_does_not_reach_the_child(as_child: object) -> None:
    assert callable(as_child)
    inherited = {
        "REDIS_URL": "redis://elsewhere",
        "PHOENIX_DATABASE__URL": "postgresql://elsewhere/x",
        "PHOENIX_CONFIG": "/nowhere.toml",
    }
    settings = Settings(data_dir=Path("/srv/phoenix"))
    assert as_child(child_environment(settings, inherited)) == settings


def test_the_rest_of_the_environment_is_kept() -> None:
    environment = child_environment(Settings(), {"PATH": "/bin", "HF_HOME": "/models"})
    assert (environment["PATH"], environment["HF_HOME"]) == ("/bin", "/models")
