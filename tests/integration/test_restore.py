"""The drills of docs/operations/upgrades.md: the documented commands copy a database, and the copy has its jobs."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from builders import complete_next, event_types, get_job, submit_reel
from fixtures import child_processes
from fixtures.databases import copied_database
from fixtures.postgres_server import find_postgres_program
from fixtures.repository import REPOSITORY
from phoenix.db.engine import database_url, open_engine
from phoenix.db.unit_of_work import Database
from phoenix.settings import DatabaseSettings

PAGE = (REPOSITORY / "docs" / "operations" / "upgrades.md").read_text()


async def test_a_sqlite_copy_of_a_running_server_has_its_jobs_and_goes_on(sqlite_url: URL, tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir()
    (tmp_path / "phoenix.db").rename(data / "phoenix.db")
    database = Database(open_engine(sqlite_url.set(database=str(data / "phoenix.db")), DatabaseSettings()))
    job_id = await submit_reel(database, "a", "b")
    await complete_next(database)
    before = await event_types(database, job_id)

    (tmp_path / "backup").mkdir()
    command = re.search(r"^python3 -c .*$", PAGE, re.MULTILINE)
    assert command
    child_processes.run(shlex.split(command[0]), cwd=tmp_path, check=True, timeout=100)
    await complete_next(database)
    await database.close()

    restored = database_url(DatabaseSettings(), tmp_path / "backup")
    copy = Database(open_engine(restored, DatabaseSettings()))
    assert await event_types(copy, job_id) == before
    await complete_next(copy)
    assert len((await get_job(copy, job_id)).tasks) == 3
    await copy.close()


@pytest.fixture
def other_postgres_url(postgres_server: URL, postgres_template: str) -> Iterator[URL]:
    """Another database, with the tables and without a row."""
    with copied_database(postgres_server, postgres_template) as url:
        yield url


async def test_a_postgresql_copy_of_a_running_server_has_its_jobs_and_goes_on(
    postgres_url: URL, other_postgres_url: URL, tmp_path: Path
) -> None:
    database = Database(open_engine(postgres_url, DatabaseSettings()))
    job_id = await submit_reel(database, "a", "b")
    await complete_next(database)
    before = await event_types(database, job_id)

    dump = tmp_path / "phoenix.dump"
    with dump.open("wb") as file:
        run_documented("pg_dump", postgres_url, stdout=file)
    await complete_next(database)
    await database.close()

    with dump.open("rb") as file:
        run_documented("pg_restore", other_postgres_url, stdin=file)
    copy = Database(open_engine(other_postgres_url, DatabaseSettings()))
    assert await event_types(copy, job_id) == before
    await complete_next(copy)
    assert len((await get_job(copy, job_id)).tasks) == 3
    await copy.close()


def run_documented(program: str, url: URL, **streams: Any) -> None:
    """Runs what the page runs in the container of the database, with the user and the database of `url`."""
    [command] = re.findall(rf"exec -T postgres {program} ([^<>\n]+) [<>]", PAGE)
    named = command.replace("--username=phoenix", f"--username={url.username}")
    named = re.sub(r"\bphoenix\b", str(url.database), named)
    environment = {**os.environ, "PGHOST": str(url.query["host"])}
    argv = [find_postgres_program(program), *shlex.split(named)]
    child_processes.run(argv, check=True, timeout=100, env=environment, **streams)
