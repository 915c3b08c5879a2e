"""The drill of docs/operations/upgrades.md: the documented command copies a database, and the copy has its jobs."""

import re
import shlex
from pathlib import Path

from sqlalchemy.engine import URL

from builders import complete_next, event_types, get_job, submit_reel
from fixtures import child_processes
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
