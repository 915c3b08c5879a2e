"""Downloading: ranges, validators and HEAD, over a real store."""

from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from typing import Any

import pytest

from builders import complete_next
from fixtures.api import Api, assert_problem
from phoenix.contract import ArtifactKind
from phoenix.ids import JobId, TaskId, new_artifact_id
from phoenix.jobs.tables import ArtifactRow
from phoenix.storage.keys import OutputName, output_key

VIDEO = bytes(range(256)) * 8000
ETAG = f'"{sha256(VIDEO).hexdigest()}"'


@pytest.fixture
async def finished(api: Api) -> dict[str, Any]:
    """A reel of one clip with real files."""
    job = await api.submit()
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, VIDEO)
    return await api.show(job["id"])


async def test_a_result_is_sent_whole_with_what_a_player_needs(api: Api, finished: dict[str, Any]) -> None:
    response = await api.http.get(finished["output"]["url"])

    assert response.status_code == 200
    assert response.content == VIDEO
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["content-length"] == str(len(VIDEO))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"] == ETAG
    assert response.headers["x-content-type-options"] == "nosniff"
    assert f'filename="{finished["id"]}.mp4"' in response.headers["content-disposition"]


@pytest.mark.parametrize(
    ("asked", "part", "named"),
    [
        ("bytes=0-9", VIDEO[:10], "bytes 0-9/2048000"),
        ("bytes=-5", VIDEO[-5:], "bytes 2047995-2047999/2048000"),
        ("bytes=1048570-1048590", VIDEO[1048570:1048591], "bytes 1048570-1048590/2048000"),
        ("bytes=2047000-9999999", VIDEO[2047000:], "bytes 2047000-2047999/2048000"),
    ],
)
async def test_a_range_is_sent_alone(api: Api, finished: dict[str, Any], asked: str, part: bytes, named: str) -> None:
    response = await api.http.get(finished["output"]["url"], headers={"Range": asked})

    assert response.status_code == 206
    assert response.content == part
    assert response.headers["content-range"] == named
    assert response.headers["content-length"] == str(len(part))


async def test_several_ranges_are_sent_as_parts(api: Api, finished: dict[str, Any]) -> None:
    response = await api.http.get(finished["output"]["url"], headers={"Range": "bytes=0-3,-4"})

    assert response.status_code == 206
    assert response.headers["content-length"] == str(len(response.content))
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    parts = list(BytesParser(policy=HTTP).parsebytes(head + response.content).iter_parts())
    assert [part["content-range"] for part in parts] == ["bytes 0-3/2048000", "bytes 2047996-2047999/2048000"]
    assert [part.get_payload(decode=True) for part in parts] == [VIDEO[:4], VIDEO[-4:]]


async def test_a_range_beyond_the_end_is_answered_with_the_size(api: Api, finished: dict[str, Any]) -> None:
    response = await api.http.get(finished["output"]["url"], headers={"Range": "bytes=9999999-"})

    assert_problem(response, 416, "INVALID_REQUEST")
    assert response.headers["content-range"] == "bytes */2048000"


@pytest.mark.parametrize(
    "headers", [{"Range": "foo=0-1"}, {"Range": "bytes=0-9", "If-Range": '"old"'}, {"Range": "bytes=9-0"}]
)
async def test_what_is_not_a_range_of_this_file_gets_the_whole(
    api: Api, finished: dict[str, Any], headers: dict[str, str]
) -> None:
    response = await api.http.get(finished["output"]["url"], headers=headers)

    assert (response.status_code, len(response.content)) == (200, len(VIDEO))


async def test_a_download_goes_on_where_it_broke_off(api: Api, finished: dict[str, Any]) -> None:
    headers = {"Range": "bytes=100-", "If-Range": ETAG}

    response = await api.http.get(finished["output"]["url"], headers=headers)

    assert (response.status_code, response.content) == (206, VIDEO[100:])


async def test_what_the_client_has_is_not_sent_again(api: Api, finished: dict[str, Any]) -> None:
    response = await api.http.get(finished["output"]["url"], headers={"If-None-Match": ETAG, "Range": "bytes=0-1"})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == ETAG


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=0-1,5-6"}])
async def test_head_has_the_headers_of_get_and_no_body(
    api: Api, finished: dict[str, Any], headers: dict[str, str]
) -> None:
    got = await api.http.get(finished["output"]["url"], headers=headers)

    headed = await api.http.head(finished["output"]["url"], headers=headers)

    assert headed.content == b""
    changing = {"x-request-id", "content-type"} if "," in headers.get("Range", "") else {"x-request-id"}
    assert headed.status_code == got.status_code
    assert {k: v for k, v in headed.headers.items() if k not in changing} == {
        k: v for k, v in got.headers.items() if k not in changing
    }


async def test_a_clip_is_sent_as_soon_as_it_is_done(api: Api) -> None:
    job = await api.submit("one", "two")
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")

    clips = (await api.show(job["id"]))["clips"]
    done = await api.http.get(clips[0]["url"])
    missing = await api.http.get(f"/v1/jobs/{job['id']}/clips/1/content")

    assert (done.status_code, done.content) == (200, b"the clip")
    assert clips[1]["url"] is None
    assert_problem(missing, 409, "CONFLICT")


@pytest.mark.parametrize("index", ["7", "-1"])
async def test_a_clip_that_the_reel_does_not_have_is_not_found(api: Api, finished: dict[str, Any], index: str) -> None:
    assert_problem(await api.http.get(f"/v1/jobs/{finished['id']}/clips/{index}/content"), 404, "NOT_FOUND")


@pytest.mark.parametrize("index", ["first", "1.0", "%2B0", "00", "-0", "0x0", "1_0", "%200", "true"])
async def test_a_clip_index_that_is_no_number_names_the_parameter(
    api: Api, finished: dict[str, Any], index: str
) -> None:
    response = await api.http.get(f"/v1/jobs/{finished['id']}/clips/{index}/content")

    assert assert_problem(response, 422, "INVALID_REQUEST")["errors"][0]["pointer"] == "/path/index"


async def test_a_result_that_is_not_there_yet_is_a_conflict(api: Api) -> None:
    job = await api.submit()

    for query in ("", "?variant=thumbnail"):
        assert_problem(await api.http.get(f"/v1/jobs/{job['id']}/content{query}"), 409, "CONFLICT")


async def test_a_thumbnail_is_a_picture_of_its_own(api: Api, finished: dict[str, Any]) -> None:
    missing = await api.http.get(f"/v1/jobs/{finished['id']}/content?variant=thumbnail")
    key = output_key(JobId(finished["id"]), TaskId("task_" + "0" * 26), 1, OutputName.THUMBNAIL)
    path = api.services.settings.data_dir / "thumbnail"
    path.write_bytes(b"\xff\xd8 jpeg")
    stored = await api.services.store.put_file(key, path)
    async with api.services.database.write() as uow:
        uow.session.add(
            ArtifactRow(
                id=new_artifact_id(),
                owner_id="anonymous",
                kind=ArtifactKind.THUMBNAIL,
                job_id=finished["id"],
                key=key,
                media_type="image/jpeg",
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                created_at=await uow.now(),
            )
        )

    found = await api.http.get(f"/v1/jobs/{finished['id']}/content?variant=thumbnail")

    assert_problem(missing, 404, "NOT_FOUND")
    assert (found.headers["content-type"], found.content) == ("image/jpeg", b"\xff\xd8 jpeg")


async def test_a_file_that_has_been_deleted_is_gone(api: Api) -> None:
    job = await api.submit()
    await complete_next(api.services.database)
    await api.finish_next("media", OutputName.OUTPUT, b"x")
    api.lose_stored_files()

    assert_problem(await api.http.get(f"/v1/jobs/{job['id']}/content"), 410, "GONE")


async def test_deleting_a_job_deletes_its_files(api: Api, finished: dict[str, Any]) -> None:
    assert (await api.http.delete(f"/v1/jobs/{finished['id']}")).status_code == 204

    assert api.stored_files() == []
    assert_problem(await api.http.get(f"/v1/jobs/{finished['id']}/content"), 404, "NOT_FOUND")
    assert_problem(await api.http.get(f"/v1/artifacts/{finished['output']['artifact_id']}"), 404, "NOT_FOUND")
