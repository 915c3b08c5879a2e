"""The backup of compose: its script copies a real database and a store, and keeps what the newest copies need."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import URL

from fixtures import child_processes
from fixtures.postgres_server import find_postgres_program
from fixtures.repository import REPOSITORY

WITHIN_S = 100
PROGRAMS = find_postgres_program("pg_dump").parent


@dataclass(frozen=True)
class Backup:
    """The service of the compose file, on the folders of a test."""

    url: URL
    store: Path
    copies: Path

    def run(self, *, keep: int) -> list[Path]:
        """Lets it make one copy of each. Returns the copies of the database, the oldest first."""
        service = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]["backup"]
        script = service["command"][-1].replace("$$", "$")
        environment = {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": str(self.url.query["host"]),
            "PGUSER": str(self.url.username),
            "PGDATABASE": str(self.url.database),
            "BACKUP_DIR": str(self.copies),
            "STORE_DIR": str(self.store),
            "BACKUP_KEEP": str(keep),
            "BACKUP_INTERVAL_S": "1000",
        }
        assert environment.keys() - {"PATH"} <= service["environment"].keys()
        # It says in its own words that it is done: the next command of the script.
        script = script.replace('sleep "$BACKUP_INTERVAL_S"', "exit 0")
        child_processes.run([*service["command"][:-1], script], env=environment, check=True, timeout=WITHIN_S)
        return sorted(self.copies.glob("phoenix-*.dump"))

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.copies / "artifacts").rglob("*") if path.is_file())


@pytest.fixture
def backup(postgres_url: URL, tmp_path: Path) -> Backup:
    store, copies = tmp_path / "store", tmp_path / "copies"
    (store / "job" / "task").mkdir(parents=True)
    copies.mkdir()
    return Backup(postgres_url, store, copies)


def test_the_newest_copies_of_the_database_stay_and_can_be_read(backup: Backup) -> None:
    for number in range(3):
        (backup.copies / f"phoenix-2020010{number}T000000Z.dump").write_bytes(b"an old copy")

    old, new = backup.run(keep=2)

    assert old.name == "phoenix-20200102T000000Z.dump"
    listed = child_processes.run(
        [PROGRAMS / "pg_restore", "--list", new], check=True, capture_output=True, text=True, timeout=WITHIN_S
    )
    assert "TABLE DATA public jobs" in listed.stdout


def test_files_are_copied_once_and_never_in_part(backup: Backup) -> None:
    (backup.store / "job" / "task" / "1.mp4").write_bytes(b"a clip")
    (backup.store / "job" / "2.mp4#1").write_bytes(b"a part of")
    backup.run(keep=2)
    copy = backup.copies / "artifacts" / "job" / "task" / "1.mp4"
    node = copy.stat().st_ino
    backup.run(keep=2)

    assert (copy.read_bytes(), copy.stat().st_ino, backup.files()) == (b"a clip", node, ["1.mp4"])
    assert not (backup.copies / "unfinished").exists()


def test_a_deleted_file_stays_for_as_long_as_a_copy_of_the_database_may_name_it(backup: Backup) -> None:
    for name in ("kept.mp4", "deleted.mp4"):
        (backup.store / name).write_bytes(b"a clip")
    (first,) = backup.run(keep=2)
    first.rename(backup.copies / "phoenix-20200101T000000Z.dump")
    (backup.store / "deleted.mp4").unlink()

    backup.run(keep=2)
    with_both = backup.files()
    backup.run(keep=1)

    assert (with_both, backup.files()) == (["deleted.mp4", "kept.mp4"], ["kept.mp4"])
