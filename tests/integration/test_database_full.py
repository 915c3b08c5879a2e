"""A disk without space for the database: a refusal with its own code, an honest health, and deletions that work."""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import URL

from fixtures.api import Api, assert_problem, reel_body
from fixtures.databases import async_url
from fixtures.log_lines import lines_about
from phoenix.access.keys import ANYBODY
from phoenix.api.background.leader_loop import LeaderLease
from phoenix.api.health_checks import HealthChecks, Severity
from phoenix.db import Ballast, Database
from phoenix.db.engine import open_engine
from phoenix.errors import StorageFull
from phoenix.jobs.purge import purge_owner
from phoenix.settings import DatabaseSettings

LimitPages = Callable[[int], None]
TINY, AMPLE = 1, 10**6
MB = 2**20


@pytest.fixture
def limit_pages(api: Api) -> LimitPages:
    """Limits the size of the database from now on. SQLite fails at the limit as it does on a full disk."""
    pages = [AMPLE]

    def limit(connection: object) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}")  # type: ignore[attr-defined]

    event.listen(api.services.database.engine.sync_engine, "begin", limit, insert=True)

    def change(count: int) -> None:
        pages[0] = count

    return change


async def fill(api: Api) -> None:
    """Submits until the pages of the database are full, and checks the refusal."""
    answers = [await api.http.post("/v1/reels", json=reel_body("a" * 2000)) for _ in range(12)]
    problem = assert_problem(answers[-1], 507, "STORAGE_FULL")
    assert "disk of the database is full" in problem["detail"]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_database_that_cannot_grow_refuses_a_job_and_takes_it_once_there_is_space(
    api: Api, limit_pages: LimitPages
) -> None:
    limit_pages(TINY)
    await fill(api)
    limit_pages(AMPLE)

    await api.submit("after")


async def test_jobs_of_a_full_database_are_shown_canceled_and_deleted(api: Api, limit_pages: LimitPages) -> None:
    job_id = (await api.submit("before"))["id"]
    limit_pages(TINY)
    await fill(api)

    assert (await api.show(job_id))["state"] == "queued"
    assert (await api.http.post(f"/v1/jobs/{job_id}/cancel")).status_code == 202
    assert (await api.http.delete(f"/v1/jobs/{job_id}")).status_code == 204


async def test_the_log_has_the_cause_once_and_the_number_of_failures_at_the_end(
    log_lines: io.StringIO, api: Api, limit_pages: LimitPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise the end is a minute after the last failure.
    monkeypatch.setattr("phoenix.db.unit_of_work._FULL_FOR_S", 0.0)
    limit_pages(TINY)
    await fill(api)
    limit_pages(AMPLE)
    await api.submit("after")

    first = lines_about(log_lines, "the database cannot be written")[0]
    end = lines_about(log_lines, "the database is written again")[-1]
    assert first["cause"] == "OperationalError: database or disk is full"
    assert end["failures"] >= 1


@pytest.fixture
def ballast(api: Api, tmp_path: Path) -> Ballast:
    """The ballast of a disk that is full: 1 MiB is left, and the ballast has 2 MiB."""
    made = Ballast(tmp_path / "phoenix.db", size_bytes=2 * MB, read_free_bytes=lambda _folder: 4 * MB)
    made.refill()
    api.services.database.ballast = Ballast(tmp_path / "phoenix.db", size_bytes=2 * MB, read_free_bytes=lambda _: 0)
    return made


async def test_a_deletion_on_a_full_disk_takes_the_space_of_the_ballast(api: Api, ballast: Ballast) -> None:
    job_id = (await api.submit("before"))["id"]
    assert (await api.http.post(f"/v1/jobs/{job_id}/cancel")).status_code == 202

    assert not ballast.path.exists()


async def test_a_purge_on_a_full_disk_has_the_space_of_the_ballast_from_its_first_write_on(
    api: Api, ballast: Ballast
) -> None:
    await api.submit("before")
    held: list[bool] = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE jobs"):
            held.append(ballast.path.exists())

    event.listen(api.services.database.engine.sync_engine, "before_cursor_execute", look)
    async for _ in purge_owner(api.services.database, api.services.store, ANYBODY.owner_id):
        pass

    assert held
    assert not any(held)


async def test_other_writes_leave_the_ballast_to_deletions(api: Api, ballast: Ballast) -> None:
    await api.submit("another")

    assert ballast.path.exists()


@pytest.fixture
async def full_database(sqlite_url: URL) -> AsyncIterator[Database]:
    """Has a ballast of 2 MiB, and no transaction fits before that is given up."""
    path = Path(sqlite_url.database or "")
    Ballast(path, size_bytes=2 * MB, read_free_bytes=lambda _: 4 * MB).refill()
    ballast = Ballast(path, size_bytes=2 * MB, read_free_bytes=lambda _: 0)
    database = Database(open_engine(async_url(sqlite_url), DatabaseSettings()), ballast=ballast)

    def extend(connection: object) -> None:
        pages = TINY if ballast.path.exists() else AMPLE
        for statement in (f"PRAGMA max_page_count={pages}", "CREATE TABLE IF NOT EXISTS larger (page)"):
            connection.exec_driver_sql(statement)  # type: ignore[attr-defined]

    event.listen(database.engine.sync_engine, "begin", extend, insert=True)
    yield database
    await database.close()


async def test_the_service_that_deletes_leads_with_the_space_of_the_ballast(full_database: Database) -> None:
    assert await LeaderLease(full_database, "retention", frees_space=True).try_acquire_or_renew()


async def test_other_services_leave_the_ballast_to_deletions(full_database: Database) -> None:
    with pytest.raises(StorageFull):
        await LeaderLease(full_database, "dispatcher").try_acquire_or_renew()

    assert full_database.ballast is not None
    assert full_database.ballast.path.exists()


async def test_a_lease_that_fits_leaves_the_ballast_to_deletions(api: Api, ballast: Ballast) -> None:
    assert await LeaderLease(api.services.database, "deletes", frees_space=True).try_acquire_or_renew()

    assert ballast.path.exists()


async def test_the_ballast_is_restored_once_a_deletion_has_made_room(api: Api, ballast: Ballast) -> None:
    ballast.give_up()
    api.services.database.ballast = ballast

    async with api.services.database.write(frees_space=True):
        assert not ballast.path.exists()

    assert ballast.path.stat().st_size == 2 * MB


async def test_health_tests_a_write_and_leaves_no_file_and_no_row(api: Api) -> None:
    services = api.services
    checks = await HealthChecks(
        services.database, services.redis, services.store, services.reserve, timeout_s=100
    ).run()

    assert {result.severity for result in checks.values()} == {Severity.FINE}
    assert api.stored_files() == []
    async with api.services.database.read() as session:
        rows = (await session.connection()).exec_driver_sql("SELECT name FROM leader_leases WHERE name LIKE 'health%'")
        assert (await rows).all() == []
