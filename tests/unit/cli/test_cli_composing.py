"""The settings that `up` gives its children, and the settings that stay with the operator."""

import os
from pathlib import Path

import pytest

from phoenix.cli.embedded.private import private_settings
from phoenix.cli.options import with_address
from phoenix.cli.up import DRAIN_GRACE_S, compose
from phoenix.settings import (
    AuthMode,
    DatabaseSettings,
    LogSettings,
    RedisSettings,
    Settings,
    StorageSettings,
    WorkerSettings,
    load_settings,
)
from phoenix.worker.child_process import child_environment


def composed(settings: Settings, *, is_terminal: bool = False) -> Settings:
    return compose(settings, redis_url="unix:///r.sock", port=81, is_terminal=is_terminal)


def test_children_are_given_the_address_the_redis_and_an_absolute_folder():
    result = composed(with_address(Settings(data_dir=Path("data")), "0.0.0.0", None))
    assert (result.api.host, result.api.port, result.redis.url) == ("0.0.0.0", 81, "unix:///r.sock")
    assert result.data_dir == Path.cwd() / "data"


def test_workers_drain_quickly_unless_the_operator_says_otherwise():
    assert composed(Settings()).worker.drain_grace_s == DRAIN_GRACE_S
    assert composed(Settings(worker=WorkerSettings(drain_grace_s=60))).worker.drain_grace_s == 60


def test_a_terminal_gets_readable_logs_unless_the_operator_says_otherwise():
    assert not composed(Settings(), is_terminal=True).log.json_lines
    assert composed(Settings(), is_terminal=False).log.json_lines
    assert composed(Settings(log=LogSettings(json_lines=True)), is_terminal=True).log.json_lines


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings of a fleet: from variables in any case, by plain names, and from a file."""
    file = tmp_path / "phoenix.toml"
    file.write_text('auth = "required"\n[redis]\nprefix = "fleet"\n[limits]\nmax_queued_jobs = 7\n')
    monkeypatch.setenv("PHOENIX_CONFIG", str(file))
    monkeypatch.setenv("DATABASE_URL", "postgresql://fleet/x")
    monkeypatch.setenv("PHOENIX_REDIS__URL", "redis://fleet")
    monkeypatch.setenv("PHOENIX_API__CORS_ORIGINS", "*")
    monkeypatch.setenv("PHOENIX_API__CORS_CREDENTIALS", "false")
    monkeypatch.setenv("phoenix_storage__url", "s3://fleet")
    return load_settings()


def test_a_private_server_gets_nothing_by_which_it_could_touch_another(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
):
    environment = child_environment(private_settings(configured, Path("/tmp/x")))
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    private = load_settings()
    assert (private.redis, private.database, private.storage) == (
        RedisSettings(),
        DatabaseSettings(),
        StorageSettings(),
    )
    assert private.api.cors_origins == ()
    assert (private.data_dir, private.auth, private.limits.max_queued_jobs) == (Path("/tmp/x"), AuthMode.OFF, 7)


def test_an_unset_setting_is_unset_in_a_private_server_too(monkeypatch: pytest.MonkeyPatch):
    # Otherwise the defaults of `phoenix up`, such as its short drain, would count as the operator's word.
    for name, value in child_environment(private_settings(Settings(), Path("/tmp/x")), {}).items():
        monkeypatch.setenv(name, value)
    assert composed(load_settings()).worker.drain_grace_s == DRAIN_GRACE_S
