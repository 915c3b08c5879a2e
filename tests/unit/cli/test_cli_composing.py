"""What `up` decides for its children, and what it leaves to the operator."""

from pathlib import Path

from phoenix.cli.embedded.composing import DRAIN_GRACE_S, compose
from phoenix.cli.embedded.private import private_environment
from phoenix.settings import LogSettings, Settings, WorkerSettings


def composed(settings: Settings, *, is_terminal: bool = False) -> Settings:
    return compose(settings, redis_url="unix:///r.sock", host="0.0.0.0", port=81, is_terminal=is_terminal)


def test_children_are_told_the_address_the_redis_and_an_absolute_folder():
    result = composed(Settings(data_dir=Path("data")))
    assert (result.api.host, result.api.port, result.redis.url) == ("0.0.0.0", 81, "unix:///r.sock")
    assert result.data_dir == Path.cwd() / "data"


def test_workers_drain_quickly_unless_the_operator_says_otherwise():
    assert composed(Settings()).worker.drain_grace_s == DRAIN_GRACE_S
    assert composed(Settings(worker=WorkerSettings(drain_grace_s=60))).worker.drain_grace_s == 60


def test_a_terminal_gets_readable_logs_unless_the_operator_says_otherwise():
    assert not composed(Settings(), is_terminal=True).log.json_lines
    assert composed(Settings(), is_terminal=False).log.json_lines
    assert composed(Settings(log=LogSettings(json_lines=True)), is_terminal=True).log.json_lines


def test_a_private_server_gets_nothing_by_which_it_could_touch_another():
    shared = {
        "DATABASE_URL": "postgresql://fleet",
        "REDIS_URL": "redis://fleet",
        "PHOENIX_REDIS__URL": "redis://fleet",
        "phoenix_storage__url": "s3://fleet",
        "PHOENIX_AUTH": "required",
    }
    kept = {"PATH": "/bin", "PHOENIX_ANIMATIC__SECONDS_PER_STEP": "1"}
    assert private_environment(Path("/tmp/x"), {**shared, **kept}) == {
        **kept,
        "PHOENIX_DATA_DIR": "/tmp/x",
        "PHOENIX_AUTH": "off",
    }
