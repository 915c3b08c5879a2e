"""`phoenix background`: what the API replicas leave to it if PHOENIX_API__BACKGROUND is false."""

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from fixtures.fleet import ApiReplica, run_phoenix, running

ENDED_WITHIN_S = 100
REEL = {"clips": [{"prompt": "a lighthouse"}], "duration_s": 1, "steps": 1}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "processes.log"
    yield file
    # pytest shows it when the test has failed.
    sys.stdout.write(file.read_text())


def test_a_job_is_finished_by_an_api_without_background_services_and_the_process_that_has_them(
    tmp_path: Path, redis_url: str, log: Path
) -> None:
    environment = {
        **os.environ,
        "PHOENIX_DATA_DIR": str(tmp_path / "data"),
        "PHOENIX_API__BACKGROUND": "false",
        "REDIS_URL": redis_url,
    }
    run_phoenix(["db", "upgrade"], environment, log).wait(timeout=ENDED_WITHIN_S)
    with ExitStack() as stack:
        stack.enter_context(running(["worker", "--queue", "all"], environment, log))
        background = stack.enter_context(running(["background"], environment, log))
        replica = ApiReplica(environment, log)
        stack.callback(replica.end)
        prefer = {"Prefer": "wait=90"}
        answer = httpx.post(f"{replica.url}/v1/reels", json=REEL, headers=prefer, timeout=ENDED_WITHIN_S)

        assert answer.json()["state"] == "succeeded"
        assert list_leaders(tmp_path / "data" / "phoenix.db") == {str(background.pid)}

        background.send_signal(signal.SIGTERM)
        assert background.wait(timeout=ENDED_WITHIN_S) == 0


def list_leaders(database: Path) -> set[str]:
    """The processes that have led a background service."""
    with closing(sqlite3.connect(database)) as connection:
        return {leader.split(":")[1] for (leader,) in connection.execute("SELECT leader_id FROM leader_leases")}
