"""PostgreSQL on a full disk: small writes still fit, so only what needs a new page of the disk shows it."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from fixtures.api import Api, assert_problem, open_api, reel_body
from fixtures.log_lines import lines_about
from phoenix.api.health_checks import HealthChecks, Severity
from phoenix.db import Database, write_temporary_file
from phoenix.settings import Settings

MB = 10**6
WITHIN_S = 100
# What PostgreSQL itself reports, for the table whose rows are the largest.
REFUSE_JOBS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
RAISE 'could not extend file "base/5/16440": No space left on device' USING ERRCODE = 'disk_full'; END $$
"""


@pytest.fixture
async def api(api_settings: Settings, postgres_url: URL) -> AsyncIterator[Api]:
    url = postgres_url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = api_settings.model_copy(update={"database": api_settings.database.model_copy(update={"url": url})})
    async with open_api(settings) as opened:
        yield opened


async def fill(api: Api) -> None:
    """From now on no job fits on the disk."""
    async with api.services.database.write() as uow:
        await uow.session.execute(text(REFUSE_JOBS))
        await uow.session.execute(
            text("CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()")
        )


async def test_the_refusal_of_a_job_says_that_deleting_jobs_may_not_help(api: Api) -> None:
    await fill(api)
    problem = assert_problem(await api.http.post("/v1/reels", json=reel_body("another")), 507, "STORAGE_FULL")

    assert problem["detail"].startswith("The disk of PostgreSQL is full: make room on it.")


async def test_a_job_that_ended_is_deleted_while_no_job_fits(api: Api) -> None:
    job_id = (await api.submit("before"))["id"]
    assert (await api.http.post(f"/v1/jobs/{job_id}/cancel")).status_code == 202
    await fill(api)

    assert (await api.http.delete(f"/v1/jobs/{job_id}")).status_code == 204


async def test_small_writes_that_succeed_between_refusals_end_no_episode_in_the_log(
    log_lines: io.StringIO, api: Api
) -> None:
    await fill(api)
    for _ in range(3):
        await api.http.post("/v1/reels", json=reel_body("another"))
        async with api.services.database.write() as uow:
            await uow.session.execute(text("UPDATE leader_leases SET expires_at = expires_at"))

    (line,) = lines_about(log_lines, "the database cannot be written")
    assert "No space left on device" in line["cause"]
    assert lines_about(log_lines, "the database is written again") == []


async def test_the_test_write_of_health_needs_a_megabyte_of_the_disk(api: Api) -> None:
    before_bytes = await read_temporary_bytes(api.services.database)
    services = api.services
    checks = await HealthChecks(
        services.database, services.redis, services.store, services.reserve, timeout_s=100
    ).run()

    assert checks["database"].severity is Severity.FINE
    async with asyncio.timeout(WITHIN_S):
        while await read_temporary_bytes(services.database) < before_bytes + MB:  # noqa: ASYNC110 - counted later
            await asyncio.sleep(0.05)


async def test_the_test_write_leaves_the_memory_of_later_queries_as_it_was(api: Api) -> None:
    async with api.services.database.write() as uow:
        before = (await uow.session.execute(text("SHOW work_mem"))).scalar_one()
        await write_temporary_file(uow.session)
    async with api.services.database.write() as uow:
        assert (await uow.session.execute(text("SHOW work_mem"))).scalar_one() == before


async def read_temporary_bytes(database: Database) -> int:
    """The bytes of all temporary files so far."""
    async with database.read() as session:
        await session.execute(text("SELECT pg_stat_force_next_flush()"))
        statement = "SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()"
        return int((await session.execute(text(statement))).scalar_one())
