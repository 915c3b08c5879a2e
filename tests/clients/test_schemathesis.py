"""Schemathesis, with all of its checks, against a real server: it does what the exact document says, and no more.

With two keys that must not see each other's objects.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.client_tools import CLIENTS, EXACT_DOCUMENT, run
from fixtures.fleet import ApiReplica, run_phoenix

PEERS = ("one", "other")


@pytest.fixture
def guarded_server(tmp_path: Path, redis_url: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """URL and keys of a `phoenix api` without workers, with no limits on what one key may ask for."""
    environment = {
        **os.environ,
        "PHOENIX_DATA_DIR": str(tmp_path / "data"),
        "PHOENIX_AUTH": "required",
        "PHOENIX_LIMITS__REQUESTS_PER_MINUTE": "0",
        "PHOENIX_LIMITS__FAILED_AUTH_PER_MINUTE": "0",
        "PHOENIX_LIMITS__QUEUED_JOBS_PER_KEY": "0",
        # A stream of a job that nobody works on would go on for an hour.
        "PHOENIX_EVENTS__MAX_STREAM_AGE_S": "0.2",
        "REDIS_URL": redis_url,
    }
    log = tmp_path / "api.log"
    assert run_phoenix(["db", "upgrade"], environment, log).wait(timeout=60) == 0
    keys = {name: make_key(name, environment) for name in PEERS}
    server = ApiReplica(environment, log)
    yield server.url, keys
    server.end()


def make_key(name: str, environment: Mapping[str, str]) -> str:
    made = child_processes.run(
        [sys.executable, "-m", "phoenix", "keys", "create", name, "--scope", "read", "--scope", "write"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip().splitlines()[-1]


def write_config(folder: Path, keys: Mapping[str, str]) -> Path:
    """The checks' settings, with the keys as users whose objects are their own."""
    users = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
        for name, key in keys.items()
    ]
    (folder / "users.json").write_text(json.dumps({"auth": users}))
    config = folder / "schemathesis.toml"
    own = f'\n[auth.wfc]\npath = "{folder / "users.json"}"\npeers = {json.dumps(PEERS)}\n'
    config.write_text((CLIENTS / "schemathesis.toml").read_text() + own)
    return config


@pytest.mark.timeout(400)
def test_the_server_does_what_the_document_says(guarded_server: tuple[str, Mapping[str, str]], tmp_path: Path) -> None:
    url, keys = guarded_server
    programs = Path(sys.executable).parent

    run(
        [
            str(programs / "schemathesis"),
            f"--config-file={write_config(tmp_path, keys)}",
            "run",
            str(EXACT_DOCUMENT),
            f"--url={url}",
            "--mode=all",
            "--max-examples=4",
            "--generation-deterministic",
            "--continue-on-failure",
            "--request-timeout=20",
            "--suppress-health-check=all",
            "--warnings=off",
            "--no-color",
        ],
        tmp_path,
        programs,  # it ends with 1 if a check has failed
    )
