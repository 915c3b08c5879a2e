"""Schemathesis, with all of its checks, against a real server: it does what the exact document says, and no more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.client_tools import CLIENTS, EXACT_DOCUMENT, run
from fixtures.fleet import ApiReplica, run_phoenix


@pytest.fixture
def guarded_server(tmp_path: Path, redis_url: str) -> Iterator[tuple[str, str]]:
    """URL and key of a `phoenix api` without workers, with no limits on what one key may ask for."""
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
    scopes = [word for scope in ("read", "write", "admin") for word in ("--scope", scope)]
    made = subprocess.run(
        [sys.executable, "-m", "phoenix", "keys", "create", "fuzz", *scopes],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    server = ApiReplica(environment, log)
    yield server.url, made.stdout.strip().splitlines()[-1]
    server.end()


@pytest.mark.timeout(400)
def test_the_server_does_what_the_document_says(guarded_server: tuple[str, str], tmp_path: Path) -> None:
    url, key = guarded_server
    programs = Path(sys.executable).parent

    run(
        [
            str(programs / "schemathesis"),
            f"--config-file={CLIENTS / 'schemathesis.toml'}",
            "run",
            str(EXACT_DOCUMENT),
            f"--url={url}",
            f"--header=Authorization: Bearer {key}",
            "--mode=all",
            "--max-examples=5",
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
