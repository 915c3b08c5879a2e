"""A failed delivery of post-commit events does not fail the transaction."""

from pathlib import Path

from sqlalchemy import select, update

from fixtures.api import Api
from phoenix.jobs.post_commit import FilesOrphaned, TasksReady
from phoenix.jobs.tables import ArtifactRow


async def test_a_malformed_file_key_does_not_fail_a_deletion(api: Api, mp3_file: Path) -> None:
    job = await api.submit()
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    await api.upload(mp3_file)
    async with api.services.database.write() as uow:
        await uow.session.execute(update(ArtifactRow).values(job_id=job["id"], key="../../etc/passwd"))

    response = await api.http.delete(f"/v1/jobs/{job['id']}")

    assert response.status_code == 204
    assert (await api.http.get(f"/v1/jobs/{job['id']}")).status_code == 404


async def test_one_bad_key_does_not_keep_the_others_from_being_deleted(api: Api, mp3_file: Path) -> None:
    await api.upload(mp3_file)
    async with api.services.database.read() as session:
        key = await session.scalar(select(ArtifactRow.key)) or ""

    async with api.services.database.write() as uow:
        uow.publish_after_commit(FilesOrphaned(("../x", "", "no/such/key", key)))

    assert api.stored_files() == []


async def test_an_event_that_cannot_be_delivered_does_not_fail_the_transaction(api: Api) -> None:
    async with api.services.database.write() as uow:
        uow.publish_after_commit(FilesOrphaned(None), TasksReady())  # type: ignore[arg-type]
