"""What an unfinished job is made of is kept, and only that; however much of it there is, the rest is deleted."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from sqlalchemy import URL, text, update

from builders import get_job, make_reel, submit_reel
from fixtures.retention import DAY_S, add_old_upload, artifact_ids, end_job, job_ids, once, opened
from fixtures.workplace import a_soundtrack, a_stitch
from phoenix.contract import ConditionSource, JobOptions, ResolvedCondition, ResolvedReel, ResolvedRequest
from phoenix.db.columns import db_now
from phoenix.ids import new_artifact_id, new_job_id
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.retention import BATCH as JOBS_AT_ONCE
from phoenix.jobs.retention import BATCH as UPLOADS_AT_ONCE
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import ArtifactRow, JobRow
from phoenix.services import Services
from phoenix.settings import LimitSettings
from phoenix.storage.keys import upload_key


def a_reel_from(image_id: str) -> ResolvedReel:
    reel = make_reel("one", "two")
    first, second = reel.clips
    frame = ResolvedCondition(role="first_frame", source=ConditionSource(artifact_id=image_id))
    return reel.model_copy(update={"clips": [first, second.model_copy(update={"conditions": [frame]})]})


WAYS: Mapping[str, Callable[[str], ResolvedRequest]] = {
    "a clip's image": a_reel_from,
    "a reel's sound": lambda artifact_id: make_reel(soundtrack={"artifact_id": artifact_id}),
    "a stitch's part": a_stitch,
    "a soundtrack's source": a_soundtrack,
}


async def submit_of(services: Services, resolved: ResolvedRequest, owner_id: str = "key_a") -> str:
    async with services.database.write() as uow:
        job = await submit(uow, resolved, JobOptions(), owner_id=owner_id, request_id=None, limits=LimitSettings())
    return job.row.id


async def age_uses(services: Services) -> None:
    """Makes the last use of every upload 8 days old."""
    async with services.database.write() as uow:
        await uow.session.execute(update(ArtifactRow).values(last_used_at=db_now(-8 * DAY_S)))


async def cancel_job(services: Services, job_id: str) -> None:
    async with services.database.write() as uow:
        await cancel(uow, job_id, owner_id="key_a")


async def multiply(services: Services, artifact_id: str, count: int) -> list[str]:
    """Ids of so many more artifacts like this one, without files; each of a job of its own, like this one's, if any."""
    async with services.database.write() as uow:
        row = await uow.session.get_one(ArtifactRow, artifact_id)
        job = await uow.session.get_one(JobRow, row.job_id) if row.job_id else None
        jobs = [JobRow(**{**job.model_dump(), "id": new_job_id()}) for _ in range(count)] if job else []
        uow.session.add_all(jobs)
        await uow.session.flush()
        owners = [job.id for job in jobs] or [None] * count
        copies = [ArtifactRow(**{**row.model_dump(), "id": new_artifact_id(), "job_id": owner}) for owner in owners]
        uow.session.add_all(copies)
    return [copy.id for copy in copies]


async def test_an_old_upload_goes_with_its_bytes_though_its_owner_always_has_a_job_under_way(
    any_database_url: URL, tmp_path: Path
) -> None:
    async with opened(tmp_path, any_database_url, uploads_days=7) as services:
        await submit_reel(services.database, owner_id="key_a")
        used = await add_old_upload(services, "key_a")
        await submit_of(services, a_soundtrack(used))
        await add_old_upload(services, "key_a")

        await once(services)

        assert await artifact_ids(services) == {used}
        assert await services.store.list_prefix("uploads") == [upload_key(used)]


@pytest.mark.parametrize("way", WAYS)
async def test_an_old_upload_is_kept_until_no_job_under_way_is_made_of_it(
    any_database_url: URL, tmp_path: Path, way: str
) -> None:
    async with opened(tmp_path, any_database_url, uploads_days=7) as services:
        upload_id = await add_old_upload(services, "key_a")
        jobs = [await submit_of(services, WAYS[way](upload_id)) for _ in range(2)]
        kept: list[bool] = []
        for job_id in (None, *jobs):
            if job_id is not None:
                await cancel_job(services, job_id)
            await age_uses(services)
            await once(services)
            kept.append(upload_id in await artifact_ids(services))
        assert kept == [True, True, False]


async def test_an_old_upload_is_kept_while_a_job_in_a_newer_versions_state_is_made_of_it(
    any_database_url: URL, tmp_path: Path
) -> None:
    async with opened(tmp_path, any_database_url, uploads_days=7) as services:
        upload_id = await add_old_upload(services, "key_a")
        await submit_of(services, a_soundtrack(upload_id))
        async with services.database.write() as uow:
            await uow.session.execute(text("UPDATE jobs SET state = 'paused'"))
        await once(services)
        assert await artifact_ids(services) == {upload_id}


async def test_uploads_that_are_kept_do_not_hide_the_others(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url, uploads_days=7) as services:
        first = await add_old_upload(services, "key_a")
        used = [first, *await multiply(services, first, UPLOADS_AT_ONCE)]
        await submit_of(services, a_stitch(*used))
        await add_old_upload(services, "key_a")
        await once(services)
        assert await artifact_ids(services) == set(used)


@pytest.mark.parametrize(("jobs_days", "jobs_per_key"), [(7, 0), (0, 1)])
async def test_a_job_is_kept_while_one_under_way_is_made_of_it(
    any_database_url: URL, tmp_path: Path, jobs_days: float, jobs_per_key: int
) -> None:
    async with opened(tmp_path, any_database_url, jobs_days=jobs_days, jobs_per_key=jobs_per_key) as services:
        await end_job(services, age_s=9 * DAY_S)
        used = await end_job(services, age_s=8 * DAY_S)
        newest = await end_job(services, age_s=10)
        output = (await get_job(services.database, used)).row.output_artifact_id
        assert output is not None
        waiting = await submit_of(services, a_stitch(output))
        await once(services)
        assert await job_ids(services) == {used, newest, waiting}
        await cancel_job(services, waiting)
        await once(services)
        assert used not in await job_ids(services)


@pytest.mark.parametrize(("jobs_days", "jobs_per_key"), [(7, 0), (0, 1)])
async def test_jobs_that_are_kept_do_not_hide_the_others(
    any_database_url: URL, tmp_path: Path, jobs_days: float, jobs_per_key: int
) -> None:
    async with opened(tmp_path, any_database_url, jobs_days=jobs_days, jobs_per_key=jobs_per_key) as services:
        used = await end_job(services, age_s=9 * DAY_S)
        output = (await get_job(services.database, used)).row.output_artifact_id
        assert output is not None
        outputs = [output, *await multiply(services, output, JOBS_AT_ONCE)]
        kept = await job_ids(services)
        await end_job(services, age_s=8 * DAY_S)
        newest = await end_job(services, age_s=10)
        waiting = await submit_of(services, a_stitch(*outputs))
        await once(services)
        assert await job_ids(services) == {*kept, newest, waiting}


async def test_one_that_a_newer_version_is_ending_does_not_keep_the_others(
    any_database_url: URL, tmp_path: Path
) -> None:
    async with opened(tmp_path, any_database_url, jobs_days=7) as services:
        newer = await end_job(services, age_s=9 * DAY_S)
        await end_job(services, age_s=8 * DAY_S)
        async with services.database.write() as uow:
            await uow.session.execute(text("UPDATE jobs SET ending = 'archived' WHERE id = :id"), {"id": newer})
        await once(services)
        assert await job_ids(services) == {newer}


async def test_an_upload_is_kept_for_days_after_its_last_use(any_database_url: URL, tmp_path: Path) -> None:
    async with opened(tmp_path, any_database_url, uploads_days=7) as services:
        used, unused = [await add_old_upload(services, "key_a") for _ in range(2)]
        await cancel_job(services, await submit_of(services, a_soundtrack(used)))
        await once(services)
        assert await artifact_ids(services) == {used}
        await age_uses(services)
        await once(services)
        assert {used, unused}.isdisjoint(await artifact_ids(services))
