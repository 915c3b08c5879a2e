"""The backup of compose: its script copies a real database again and again, and keeps the newest copies."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from sqlalchemy.engine import URL

from fixtures import child_processes
from fixtures.postgres_server import find_postgres_program
from fixtures.repository import REPOSITORY

WITHIN_S = 100


def test_the_newest_copies_stay_and_can_be_read(postgres_url: URL, tmp_path: Path) -> None:
    service = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]["backup"]
    script = service["command"][-1].replace("$$", "$")
    for number in range(3):
        (tmp_path / f"phoenix-2020010{number}T000000Z.dump").write_bytes(b"an old copy")
    programs = find_postgres_program("pg_dump").parent
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": str(postgres_url.query["host"]),
        "PGUSER": str(postgres_url.username),
        "PGDATABASE": str(postgres_url.database),
        "BACKUP_DIR": str(tmp_path),
        "BACKUP_KEEP": "2",
        "BACKUP_INTERVAL_S": "1000",
    }
    assert environment.keys() - {"PATH"} <= service["environment"].keys()

    process = child_processes.start([*service["command"][:-1], script], env=environment)
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2 and not (tmp_path / "unfinished").exists())
        old, new = sorted(tmp_path.glob("*.dump"))
    finally:
        process.kill()
        process.wait()

    assert old.name == "phoenix-20200102T000000Z.dump"
    listed = child_processes.run(
        [programs / "pg_restore", "--list", new], check=True, capture_output=True, text=True, timeout=WITHIN_S
    )
    assert "TABLE DATA public jobs" in listed.stdout


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.05)
