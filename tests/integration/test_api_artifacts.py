"""Artifacts are listed in pages and deleted, unless a job needs them."""

import asyncio
from pathlib import Path

import pytest

from builders import OWNER, add_file, complete_next, get_job, submit_reel
from fixtures.api import Api, assert_problem, reel_body
from fixtures.callers import GuardedApi
from fixtures.media_files import MediaMaker
from fixtures.workplace import a_soundtrack, a_stitch
from phoenix.contract import ArtifactKind, JobOptions, MediaInfo, ResolvedRequest
from phoenix.db.unit_of_work import Database, UnitOfWork
from phoenix.errors import ArtifactInUse, Conflict, InvalidRequest, MalformedRequest, NotFound
from phoenix.ids import new_artifact_id
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.library.files import ArtifactFilter, count_stored_files, list_artifacts
from phoenix.jobs.post_commit import FilesOrphaned
from phoenix.jobs.repository import FullJob, encode_cursor
from phoenix.jobs.retention import delete_job, delete_upload
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import ArtifactRow
from phoenix.settings import LimitSettings
from phoenix.storage.keys import OutputName

SOUND = MediaInfo(media="audio", format="mp3", duration_s=1)
PICTURE = MediaInfo(media="image", format="png", width=64, height=48)
ROUNDS = 10


async def upload(database: Database, info: MediaInfo = SOUND, *, name: str | None = None, owner_id: str = OWNER) -> str:
    artifact_id = new_artifact_id()
    async with database.write() as uow:
        await add_file(uow, artifact_id, info, owner_id=owner_id)
        (await uow.session.get_one(ArtifactRow, artifact_id)).filename = name
    return artifact_id


async def find(database: Database, wanted: ArtifactFilter | None = None, *, cursor: str | None = None) -> list[str]:
    async with database.read() as session:
        rows, _ = await list_artifacts(session, wanted or ArtifactFilter(), owner_id=OWNER, limit=100, cursor=cursor)
    return [row.id for row in rows]


async def submit_of(uow: UnitOfWork, resolved: ResolvedRequest) -> FullJob:
    return await submit(uow, resolved, JobOptions(), owner_id=OWNER, request_id=None, limits=LimitSettings())


async def use(database: Database, resolved: ResolvedRequest) -> str:
    async with database.write() as uow:
        return (await submit_of(uow, resolved)).row.id


async def delete(database: Database, artifact_id: str, *, owner_id: str = OWNER) -> None:
    async with database.write() as uow:
        await delete_upload(uow, artifact_id, owner_id=owner_id)


async def make(database: Database) -> tuple[str, str]:
    """A job that has succeeded, and its output."""
    job_id = await submit_reel(database)
    await complete_next(database)
    await complete_next(database, "media")
    output = (await get_job(database, job_id)).row.output_artifact_id
    assert output is not None
    return job_id, output


async def test_a_page_has_the_newest_files_and_a_link_to_the_next(api: Api, png_file: Path) -> None:
    ids = [(await api.upload(png_file)).json()["id"] for _ in range(3)]

    first = await api.http.get("/v1/artifacts", params={"limit": 2, "media": "image"})
    second = await api.http.get(first.links["next"]["url"])

    page, rest = first.json(), second.json()
    assert [file["id"] for file in (*page["data"], *rest["data"])] == ids[::-1]
    assert (page["has_more"], rest["has_more"], rest["next_cursor"], second.links) == (True, False, None, {})
    assert second.json()["data"][0] == (await api.http.get(f"/v1/artifacts/{ids[0]}")).json()


async def test_files_of_jobs_are_listed_with_their_job(api: Api) -> None:
    job = await api.submit()
    await api.finish_next("gpu", OutputName.CLIP, b"clip")

    (clip,) = (await api.http.get("/v1/artifacts")).json()["data"]

    assert (clip["kind"], clip["job_id"], clip["size_bytes"]) == ("clip", job["id"], 4)


FILTERS: list[tuple[ArtifactFilter, list[str]]] = [
    (ArtifactFilter(), ["Ärger 2.mp3", "a 100% sky.png", "a tune.mp3"]),
    (ArtifactFilter(media="audio"), ["Ärger 2.mp3", "a tune.mp3"]),
    (ArtifactFilter(media="image"), ["a 100% sky.png"]),
    (ArtifactFilter(ArtifactKind.CLIP), []),
    (ArtifactFilter(search_text="TUNE"), ["a tune.mp3"]),
    (ArtifactFilter(search_text="e .mp3"), ["Ärger 2.mp3", "a tune.mp3"]),
    (ArtifactFilter(search_text="Ärger"), ["Ärger 2.mp3"]),
    (ArtifactFilter(search_text="0%"), ["a 100% sky.png"]),
    (ArtifactFilter(search_text="_"), []),
]


async def test_a_filter_selects_files_of_the_owner(database: Database) -> None:
    files = (("a tune.mp3", SOUND), ("a 100% sky.png", PICTURE), ("Ärger 2.mp3", SOUND))
    made = {await upload(database, info, name=name): name for name, info in files}
    await upload(database, name="a tune.mp3", owner_id="key_other")

    for wanted, names in FILTERS:
        assert [made[artifact_id] for artifact_id in await find(database, wanted)] == names


async def test_a_file_of_a_job_is_found_by_the_words_of_the_job(database: Database) -> None:
    job_id = await submit_reel(database, "a red balloon")
    await complete_next(database)
    balloon = (await get_job(database, job_id)).tasks[0].artifact_id
    named = await upload(database, name="balloon.mp3")
    await upload(database, name="kite.mp3")

    assert await find(database, ArtifactFilter(search_text="Balloon")) == [named, balloon]
    assert await find(database, ArtifactFilter(search_text="red ball")) == [balloon]
    assert await find(database, ArtifactFilter(search_text='"?')) == []


async def test_what_files_take_is_counted_by_kind(database: Database) -> None:
    await upload(database)
    await upload(database)
    await upload(database, owner_id="key_other")
    await submit_reel(database)
    await complete_next(database)

    async with database.read() as session:
        kinds = await count_stored_files(session, OWNER)

    assert [(each.kind, each.files) for each in kinds] == [("clip", 1), ("upload", 2)]
    assert kinds[1].size_bytes == 2


async def test_storage_shows_the_sum_and_the_limit_of_the_key(guarded: GuardedApi, png_file: Path) -> None:
    owner, other = await guarded.caller(), await guarded.caller()
    size_bytes = (await owner.upload(png_file)).json()["size_bytes"]

    storage = (await owner.http.get("/v1/storage")).json()

    kinds = [{"kind": "upload", "files": 1, "size_bytes": size_bytes}]
    assert storage == {"size_bytes": size_bytes, "max_bytes": None, "kinds": kinds}
    assert (await other.http.get("/v1/storage")).json()["size_bytes"] == 0


@pytest.mark.parametrize("cursor", ["x", encode_cursor("job_1"), encode_cursor("art_\0")])
async def test_a_cursor_of_another_list_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(MalformedRequest):
        await find(database, cursor=cursor)


async def test_a_deleted_upload_is_gone_with_its_bytes(api: Api, png_file: Path) -> None:
    artifact = (await api.upload(png_file)).json()

    deleted = await api.http.delete(f"/v1/artifacts/{artifact['id']}")

    assert (deleted.status_code, deleted.content, api.stored_files()) == (204, b"", [])
    for path in (f"/v1/artifacts/{artifact['id']}", artifact["url"]):
        assert_problem(await api.http.get(path), 404, "NOT_FOUND")
    assert_problem(await api.http.delete(f"/v1/artifacts/{artifact['id']}"), 404, "NOT_FOUND")


async def test_an_upload_in_use_is_kept_and_the_job_is_named(api: Api, media: MediaMaker, wav_file: Path) -> None:
    artifact = (await api.upload(wav_file)).json()
    job = await api.submit(soundtrack={"artifact_id": artifact["id"]})

    problem = assert_problem(await api.http.delete(f"/v1/artifacts/{artifact['id']}"), 409, "ARTIFACT_IN_USE")

    assert problem["job_ids"] == [job["id"]]
    assert job["id"] in problem["detail"]
    assert (await api.http.get(artifact["url"])).status_code == 200
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await api.http.delete(f"/v1/artifacts/{artifact['id']}")).status_code == 204


async def test_another_owners_upload_does_not_exist(database: Database) -> None:
    artifact_id = await upload(database)
    with pytest.raises(NotFound):
        await delete(database, artifact_id, owner_id="key_other")
    assert await find(database) == [artifact_id]


async def test_a_file_of_a_job_is_deleted_with_its_job_only(database: Database) -> None:
    job_id, output = await make(database)
    with pytest.raises(ArtifactInUse, match=f"DELETE /v1/jobs/{job_id}") as refused:
        await delete(database, output)
    assert refused.value.job_ids == (job_id,)
    assert output in await find(database)


async def test_a_job_whose_file_is_in_use_is_kept(database: Database) -> None:
    job_id, output = await make(database)
    stitch_id = await use(database, a_stitch(output))
    with pytest.raises(ArtifactInUse) as refused:
        async with database.write() as uow:
            await delete_job(uow, job_id, owner_id=OWNER)
    assert refused.value.job_ids == (stitch_id,)


async def test_a_deleted_file_leaves_the_store_after_the_commit(
    database: Database, published_events: list[object]
) -> None:
    artifact_id = await upload(database)
    await delete(database, artifact_id)
    assert published_events == [FilesOrphaned((f"uploads/{artifact_id}",))]


async def test_of_a_submit_and_the_deletion_of_its_upload_one_comes_first(database: Database) -> None:
    for _ in range(ROUNDS):
        artifact_id = await upload(database)

        accepted, deleted = await asyncio.gather(
            use(database, a_soundtrack(artifact_id)), delete(database, artifact_id), return_exceptions=True
        )

        if isinstance(accepted, InvalidRequest):
            assert (deleted, artifact_id in await find(database)) == (None, False)
        else:
            assert (type(accepted), type(deleted), artifact_id in await find(database)) == (str, ArtifactInUse, True)


async def test_a_job_whose_upload_was_deleted_is_not_tried_again(database: Database) -> None:
    artifact_id = await upload(database)
    job_id = await use(database, a_soundtrack(artifact_id))
    async with database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    await delete(database, artifact_id)
    with pytest.raises(Conflict, match=artifact_id):
        async with database.write() as uow:
            await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60)


async def test_a_job_is_tried_again_without_the_files_that_only_finished_tasks_read(api: Api, wav_file: Path) -> None:
    artifact_id = (await api.upload(wav_file)).json()["id"]
    job = await api.submit(soundtrack={"artifact_id": artifact_id})
    await api.finish_next("media", OutputName.SOUNDTRACK, b"sound")
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await api.http.delete(f"/v1/artifacts/{artifact_id}")).status_code == 204

    assert (await api.http.post(f"/v1/jobs/{job['id']}/retry")).status_code == 202


async def test_an_unknown_filter_is_refused(api: Api) -> None:
    for query in ("media=film", "kind=film", "own=all", "limit=0"):
        assert_problem(await api.http.get(f"/v1/artifacts?{query}"), 422, "INVALID_REQUEST")
    assert_problem(await api.http.get("/v1/artifacts?cursor=x"), 400, "INVALID_REQUEST")
    assert (await api.http.post("/v1/reels", json=reel_body())).status_code == 202
