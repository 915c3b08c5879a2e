"""Watching a reel by its playlist: who may, what it says at each moment, and where its segments are."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from builders import claim_next, make_result
from fixtures.api import Api, assert_problem, open_api, reel_body
from fixtures.callers import GuardedApi
from phoenix.ids import JobId, TaskId
from phoenix.jobs.execution.task_completion import succeed
from phoenix.media.reel.playlist import SegmentedFile
from phoenix.settings import Settings, TtsSettings
from phoenix.storage.keys import OutputName, output_key

HEADER, FIRST, SECOND = b"header", b"first segment", b"second"
FILE = SegmentedFile(len(HEADER), "a", (len(FIRST), len(SECOND)), (32, 16))


async def make_segments(api: Api) -> None:
    """Claims the next task of the media queue, and stores segments for it."""
    claimed = await claim_next(api.services.database, "media")
    key = output_key(JobId(claimed.job_id), TaskId(claimed.task_id), claimed.attempt, OutputName.SEGMENTS)

    async def content() -> AsyncIterator[bytes]:
        yield HEADER + FIRST + SECOND

    stored = await api.services.store.put_stream(key, content(), None)
    result = make_result(key, size_bytes=stored.size_bytes, sha256=stored.sha256, segments=FILE)
    async with api.services.database.write() as uow:
        await succeed(uow, claimed, result)


async def begin(api: Api, job_id: str) -> None:
    """The first request, which comes before the first clip."""
    assert_problem(await api.http.get(f"/v1/jobs/{job_id}/playlist.m3u8"), 409, "CONFLICT")


async def watch(api: Api, job_id: str) -> str:
    response = await api.http.get(f"/v1/jobs/{job_id}/playlist.m3u8")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/vnd.apple.mpegurl"
    return response.text


def segments_in(playlist: str) -> list[tuple[str, str]]:
    """(URL, range of bytes) of each segment."""
    return [
        (url, f"bytes={start}-{int(start) + int(size) - 1}")
        for size, start, url in re.findall(r"#EXT-X-BYTERANGE:(\d+)@(\d+)\n(.*)", playlist)
    ]


async def test_a_playlist_grows_with_the_clips_and_ends_with_the_job(api: Api) -> None:
    job_id = (await api.submit("one", "two"))["id"]
    await begin(api, job_id)
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(api)
    growing = await watch(api, job_id)
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(api)
    await api.finish_next("media", OutputName.OUTPUT, b"reel")
    over = await watch(api, job_id)

    assert [len(segments_in(text)) for text in (growing, over)] == [2, 4]
    assert [text.endswith("#EXT-X-ENDLIST\n") for text in (growing, over)] == [False, True]
    assert over.startswith(growing)


async def test_a_segment_is_a_range_of_a_file(api: Api) -> None:
    job_id = (await api.submit())["id"]
    await begin(api, job_id)
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(api)

    parts = [
        await api.http.get(f"/v1/jobs/{job_id}/{url}", headers={"Range": bytes_range})
        for url, bytes_range in segments_in(await watch(api, job_id))
    ]

    assert [(part.status_code, part.content) for part in parts] == [(206, FIRST), (206, SECOND)]
    assert parts[0].headers["content-type"] == "video/mp4"


async def test_a_playlist_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    job_id = (await api.submit())["id"]
    await api.http.post(f"/v1/jobs/{job_id}/cancel")
    url = f"/v1/jobs/{job_id}/playlist.m3u8"
    first, head = await api.http.get(url), await api.http.head(url)
    assert (head.headers["content-length"], head.content) == (str(len(first.content)), b"")

    again = await api.http.get(url, headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


async def test_head_begins_nothing(api: Api) -> None:
    job_id = (await api.submit())["id"]
    await api.http.head(f"/v1/jobs/{job_id}/playlist.m3u8")

    assert_problem(await api.http.get(f"/v1/jobs/{job_id}/clips/0/segments"), 404, "NOT_FOUND")


async def test_only_a_reel_has_a_playlist(api: Api, wav_file: Path) -> None:
    sound = (await api.upload(wav_file)).json()["id"]
    job = (await api.http.post("/v1/soundtracks", json={"source": {"artifact_id": sound}})).json()

    assert_problem(await api.http.get(f"/v1/jobs/{job['id']}/playlist.m3u8"), 404, "NOT_FOUND")
    assert (await api.http.post(f"/v1/jobs/{job['id']}/media-tokens")).json()["playlist"] is None


async def test_where_keys_are_needed_the_segments_are_signed_like_the_playlist(guarded: GuardedApi) -> None:
    owner = await guarded.caller()
    job_id = (await owner.submit())["id"]
    url = (await owner.http.post(f"/v1/jobs/{job_id}/media-tokens")).json()["playlist"]
    assert_problem(await guarded.api.http.get(url), 409, "CONFLICT")
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(owner)

    by_token = segments_in((await guarded.api.http.get(url)).text)
    by_key = segments_in(await watch(owner, job_id))

    for segment, bytes_range in (*by_token, *by_key):
        part = await guarded.api.http.get(f"/v1/jobs/{job_id}/{segment}", headers={"Range": bytes_range})
        assert part.status_code == 206
    assert by_token[0][0].partition("?")[2] == url.partition("?")[2]
    assert_problem(await guarded.api.http.get(f"/v1/jobs/{job_id}/clips/0/segments"), 401, "UNAUTHENTICATED")


async def test_a_playlist_asked_for_with_a_key_keeps_its_urls(guarded: GuardedApi) -> None:
    owner = await guarded.caller()
    job_id = (await owner.submit())["id"]
    await begin(owner, job_id)
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(owner)

    assert await watch(owner, job_id) == await watch(owner, job_id)


@pytest.mark.parametrize("path", ["playlist.m3u8", "clips/0/segments"])
async def test_nobody_else_may_watch(guarded: GuardedApi, path: str) -> None:
    job_id = (await (await guarded.caller()).submit())["id"]
    other = await guarded.caller()

    assert_problem(await other.http.get(f"/v1/jobs/{job_id}/{path}"), 404, "NOT_FOUND")
    assert_problem(await guarded.api.http.get(f"/v1/jobs/{job_id}/{path}"), 401, "UNAUTHENTICATED")


async def test_deleting_a_job_deletes_its_segments(api: Api) -> None:
    job_id = (await api.submit())["id"]
    await begin(api, job_id)
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(api)
    await api.finish_next("media", OutputName.OUTPUT, b"reel")

    assert (await api.http.delete(f"/v1/jobs/{job_id}")).status_code == 204

    assert api.stored_files() == []


async def captioned(api: Api, *captions: str, **changes: Any) -> str:
    """A reel of one-second clips that have these captions. Its playlist was asked for."""
    clips = [{"prompt": "a fox", "caption": caption} for caption in captions]
    job = (await api.http.post("/v1/reels", json={**reel_body(), "clips": clips, **changes})).json()
    await begin(api, job["id"])
    return job["id"]


async def make_clip_with_segments(api: Api) -> None:
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await make_segments(api)


async def follow(api: Api, job_id: str, url: str) -> str:
    response = await api.http.get(f"/v1/jobs/{job_id}/{url}")
    assert response.status_code == 200, response.text
    return response.text


def urls_in(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


async def test_captions_grow_beside_the_picture(api: Api) -> None:
    job_id = await captioned(api, "Run <fox>!", "", "Stop")
    await make_clip_with_segments(api)
    await make_clip_with_segments(api)

    both = await watch(api, job_id)

    [video] = urls_in(both)
    [subtitles] = re.findall(r'TYPE=SUBTITLES,.*URI="(.*)"', both)
    assert segments_in(await follow(api, job_id, video))[0][0] == "clips/0/segments"
    listed = await follow(api, job_id, subtitles)
    assert ("#EXT-X-ENDLIST" in listed, "#EXT-X-TARGETDURATION:1" in listed) == (False, True)
    first, second = [await follow(api, job_id, url) for url in urls_in(listed)]
    assert first.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n")
    # Without a number, by which hls.js would take the cues of all segments for one.
    assert "\n\n00:00:00.000 --> 00:00:01.000\nRun &lt;fox&gt;!" in first
    assert "-->" not in second


async def test_captions_end_with_the_picture(api: Api) -> None:
    job_id = await captioned(api, "Run!")
    await make_clip_with_segments(api)
    await api.finish_next("media", OutputName.OUTPUT, b"reel")

    texts = [await follow(api, job_id, f"playlist.m3u8?rendition={each}") for each in ("video", "captions")]

    assert [text.endswith("#EXT-X-ENDLIST\n") for text in texts] == [True, True]


async def test_a_clip_is_watched_when_its_words_are_spoken(api_settings: Settings) -> None:
    tts = TtsSettings.model_validate({"base_url": "http://127.0.0.1:9/v1", "voice": "alloy"})
    async with open_api(api_settings.model_copy(update={"tts": tts}), leads=False) as api:
        clips = [{"prompt": "a fox", "caption": "Run!"}, {"prompt": "it stops", "narration": "It stops."}]
        job = (await api.http.post("/v1/reels", json={**reel_body(), "clips": clips})).json()
        await begin(api, job["id"])
        for _ in range(2):
            await api.finish_next("gpu", OutputName.CLIP, b"clip")
        await make_segments(api)
        listed = await follow(api, job["id"], "playlist.m3u8?rendition=captions")
        video = await follow(api, job["id"], "playlist.m3u8?rendition=video")
        early = await api.http.get(f"/v1/jobs/{job['id']}/clips/1/segments?rendition=captions")

    assert urls_in(listed) == ["clips/0/segments?rendition=captions"]
    assert {url for url, _ in segments_in(video)} == {"clips/0/segments"}
    assert_problem(early, 409, "CONFLICT")


@pytest.mark.parametrize("changes", [{"captions": "off"}, {"clips": [{"prompt": "a fox"}]}])
async def test_a_reel_without_captions_has_one_playlist(api: Api, changes: dict[str, Any]) -> None:
    job_id = await captioned(api, "Run!", **changes)
    await make_clip_with_segments(api)

    assert len(segments_in(await watch(api, job_id))) == 2
    for path in ("playlist.m3u8", "clips/0/segments"):
        response = await api.http.get(f"/v1/jobs/{job_id}/{path}?rendition=captions")
        assert_problem(response, 404, "NOT_FOUND")


async def test_signed_captions_play_without_a_key_and_nobody_else_reads_them(guarded: GuardedApi) -> None:
    owner, other = await guarded.caller(), await guarded.caller()
    job_id = await captioned(owner, "Run!")
    await make_clip_with_segments(owner)
    url = (await owner.http.post(f"/v1/jobs/{job_id}/media-tokens")).json()["playlist"]

    [subtitles] = re.findall(r'TYPE=SUBTITLES,.*URI="(.*)"', (await guarded.api.http.get(url)).text)
    [segment] = urls_in(await follow(guarded.api, job_id, subtitles))

    assert "Run!" in await follow(guarded.api, job_id, segment)
    path = f"/v1/jobs/{job_id}/clips/0/segments?rendition=captions"
    assert_problem(await other.http.get(path), 404, "NOT_FOUND")
    assert_problem(await guarded.api.http.get(path), 401, "UNAUTHENTICATED")
