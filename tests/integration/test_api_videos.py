"""`/v1/videos` as raw HTTP: forms and JSON, pages, files, and errors in OpenAI's shape on these routes only."""

import re
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi
from phoenix.storage.keys import OutputName

UNKNOWN = "video_" + "0" * 26


def form(**fields: str) -> dict[str, tuple[None, str]]:
    """For `files=`: multipart with fields only, as the SDKs send it."""
    return {name: (None, value) for name, value in fields.items()}


def assert_error(response: httpx.Response, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json"), response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"]
    assert response.headers["x-request-id"]
    return error


async def make_video(api: Api, **fields: str) -> dict[str, Any]:
    response = await api.http.post("/v1/videos", files=form(prompt="a balloon", seconds="1", **fields))
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_form_makes_a_queued_video_that_is_a_job(api: Api) -> None:
    video = await make_video(api, size="426x240", seed="42")

    job = await api.show("job_" + video["id"].removeprefix("video_"))
    assert (video["object"], video["status"], video["seconds"], video["size"]) == ("video", "queued", "1", "426x240")
    assert (job["kind"], job["clips"][0]["seed"]) == ("reel", 42)


async def test_json_says_the_same_as_a_form(api: Api) -> None:
    response = await api.http.post("/v1/videos", json={"prompt": "a", "seconds": 1, "clips": [{"prompt": "b"}]})

    assert response.status_code == 200
    assert (response.json()["prompt"], response.headers["openai-poll-after-ms"]) == ("a", "2000")


async def test_the_same_key_makes_one_video(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = [await api.http.post("/v1/videos", files=form(prompt="a"), headers=headers) for _ in range(2)]

    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_finished_video_is_sent_with_its_thumbnail_apart(api: Api) -> None:
    video = await make_video(api)
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the video")

    shown = (await api.http.get(f"/v1/videos/{video['id']}")).json()
    content = await api.http.get(f"/v1/videos/{video['id']}/content", headers={"Accept": "application/binary"})
    head = await api.http.head(f"/v1/videos/{video['id']}/content")

    assert (shown["status"], shown["progress"]) == ("completed", 100)
    assert (content.content, content.headers["content-type"]) == (b"the video", "video/mp4")
    assert head.headers["etag"] == content.headers["etag"]


async def test_a_variant_that_is_not_made_names_those_that_are(api: Api) -> None:
    video = await make_video(api)

    response = await api.http.get(f"/v1/videos/{video['id']}/content?variant=spritesheet")

    error = assert_error(response, 400, "invalid_request", "variant")
    assert "'video' or 'thumbnail'" in error["message"]


async def finished_video(api: Api, **fields: str) -> dict[str, Any]:
    video = await make_video(api, **fields)
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the video")
    return video


async def test_a_remix_changes_the_prompt_and_nothing_else(api: Api) -> None:
    video = await finished_video(api, size="426x240", seed="42", steps="7", negative_prompt="text", guidance_scale="3")

    remixed = await api.http.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "a blue balloon"})

    assert remixed.status_code == 200, remixed.text
    shown = (await api.http.get(f"/v1/videos/{remixed.json()['id']}")).json()
    assert (shown["remixed_from_video_id"], shown["prompt"]) == (video["id"], "a blue balloon")
    before, after = [(await api.show("job_" + each["id"].removeprefix("video_")))["request"] for each in (video, shown)]
    assert after["clips"][0].pop("prompt") == "a blue balloon"
    assert before["clips"][0].pop("prompt") == "a balloon"
    assert after == before


async def test_a_video_of_several_clips_has_no_one_prompt_to_remix(api: Api) -> None:
    video = await make_video(api, clips='[{"prompt": "b"}]')
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the video")

    response = await api.http.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "c"})

    assert "`clips`" in assert_error(response, 400, "invalid_request")["message"]


async def test_only_a_completed_video_can_be_remixed(api: Api) -> None:
    video = await make_video(api)

    response = await api.http.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "c"})

    assert_error(response, 409, "conflict")
    assert_error(await api.http.post(f"/v1/videos/{UNKNOWN}/remix", json={"prompt": "c"}), 404, "not_found")
    assert_error(
        await api.http.post(f"/v1/videos/{video['id']}/remix", json={"prompt": ""}), 400, "invalid_request", "prompt"
    )


async def test_what_no_model_here_can_do_is_refused_by_name(api: Api) -> None:
    response = await api.http.post("/v1/videos/characters", files=form(name="a", video="b"))

    assert "created, remixed, extended and edited" in assert_error(response, 404, "not_found")["message"]


async def test_a_form_may_have_a_tier_an_upscaler_an_interpolator_and_adapters(api: Api) -> None:
    upscaled = await api.http.post(
        "/v1/videos", files=form(prompt="a", **{"upscale[id]": "none", "upscale[scale]": "2"})
    )
    error = assert_error(upscaled, 400, "invalid_request", "upscale.id")
    assert "there is no upscaler" in error["message"]
    adapted = await api.http.post("/v1/videos", files=form(prompt="a", loras='[{"id": "film", "scale": 0.5}]'))
    assert_error(adapted, 400, "invalid_request", "loras.0.id")
    video = await make_video(api, quality="draft", interpolate="motion")
    request = (await api.show("job_" + video["id"].removeprefix("video_")))["request"]
    assert (request["quality"], request["clips"][0]["interpolate"]) == ("draft", "motion")
    assert request["fps"] == 2 * request["clips"][0]["fps"]


async def test_a_field_that_only_a_reel_has_is_refused_by_name(api: Api) -> None:
    response = await api.http.post("/v1/videos", json={"prompt": "a", "conditions": []})

    assert_error(response, 400, "invalid_request", "conditions")


FINISHED_SIZE = "480x854"
"""The size of the file that `finish_next` stores."""


def extension_of(video_id: str, **fields: str) -> dict[str, tuple[None, str]]:
    return form(prompt="it lands", **{"video[id]": video_id, **fields})


async def test_an_extension_begins_with_the_end_of_the_video(api: Api) -> None:
    video = await finished_video(api, size=FINISHED_SIZE, seed="42", steps="7", negative_prompt="text")

    response = await api.http.post("/v1/videos/extensions", files=extension_of(video["id"], seconds="2"))

    assert response.status_code == 200, response.text
    job_id = "job_" + video["id"].removeprefix("video_")
    request = (await api.show("job_" + response.json()["id"].removeprefix("video_")))["request"]
    (clip,) = request["clips"]
    assert (request["extends"]["job_id"], request["extends"]["clip_index"]) == (job_id, 0)
    (condition,) = clip["conditions"]
    assert (condition["role"], condition["source"]["job_id"]) == ("first_frame", job_id)
    assert (clip["prompt"], clip["num_frames"], clip["steps"], clip["negative_prompt"]) == ("it lands", 32, 7, "text")
    assert (response.json()["size"], response.json()["seconds"]) == (FINISHED_SIZE, "3")


async def test_an_extended_video_is_not_extended_again(api: Api) -> None:
    video = await finished_video(api, size=FINISHED_SIZE)
    response = await api.http.post("/v1/videos/extensions", files=extension_of(video["id"], seconds="1"))
    assert response.status_code == 200, response.text
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the video")

    again = await api.http.post("/v1/videos/extensions", files=extension_of(response.json()["id"]))

    assert "extended already" in assert_error(again, 400, "invalid_request", "video")["message"]


async def test_an_extension_of_what_is_not_a_completed_video_is_refused(api: Api) -> None:
    video = await make_video(api)

    waiting = await api.http.post("/v1/videos/extensions", json={"prompt": "c", "video": {"id": video["id"]}})
    unknown = await api.http.post("/v1/videos/extensions", json={"prompt": "c", "video": {"id": UNKNOWN}})
    file = await api.http.post("/v1/videos/extensions", files={**form(prompt="c"), "video": ("v.mp4", b"a")})

    assert "can be extended" in assert_error(waiting, 409, "conflict")["message"]
    assert_error(unknown, 404, "not_found")
    assert_error(file, 400, "invalid_request", "video")


async def test_the_file_of_a_video_is_extended_as_that_video(guarded: GuardedApi) -> None:
    owner, other = await guarded.caller(), await guarded.caller()
    video = await finished_video(owner, size=FINISHED_SIZE)
    content = (await owner.http.get(f"/v1/videos/{video['id']}/content")).content
    files = {**form(prompt="it lands", seconds="1"), "video": ("downloaded.mp4", content)}

    extended = await owner.http.post("/v1/videos/extensions", files=files)
    of_another = await other.http.post("/v1/videos/extensions", files=files)

    assert extended.status_code == 200, extended.text
    request = (await owner.show("job_" + extended.json()["id"].removeprefix("video_")))["request"]
    assert request["extends"]["job_id"] == "job_" + video["id"].removeprefix("video_")
    assert "not the file of a video" in assert_error(of_another, 400, "invalid_request", "video")["message"]


async def test_the_same_picture_under_the_same_key_is_the_same_request(api: Api, png: bytes) -> None:
    files = {**form(prompt="a", model="wan-2.1-i2v-14b-480p"), "input_reference": ("p.png", png)}
    headers = {"Idempotency-Key": "once"}

    first, again = [await api.http.post("/v1/videos", files=files, headers=headers) for _ in range(2)]

    assert first.status_code == 200, first.text
    assert first.json()["id"] == again.json()["id"]


async def test_a_page_says_where_the_next_one_begins(api: Api) -> None:
    ids = [(await make_video(api))["id"] for _ in range(3)]

    page = (await api.http.get("/v1/videos", params={"limit": 2})).json()
    rest = (await api.http.get("/v1/videos", params={"limit": 2, "after": page["last_id"]})).json()

    assert [video["id"] for video in page["data"]] == ids[:0:-1]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", ids[2], ids[1], True)
    assert ([video["id"] for video in rest["data"]], rest["has_more"]) == (ids[:1], False)


async def test_no_videos_are_an_empty_page(api: Api) -> None:
    assert (await api.http.get("/v1/videos")).json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize("path", [UNKNOWN, "video_1", "job_" + "0" * 26])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_video_is_not_found(api: Api, method: str, path: str) -> None:
    error = assert_error(await api.http.request(method, f"/v1/videos/{path}"), 404, "not_found")

    assert error["type"] == "not_found_error"


async def test_a_waiting_video_cannot_be_deleted_and_the_sdk_does_not_retry(api: Api) -> None:
    video = await make_video(api)

    response = await api.http.delete(f"/v1/videos/{video['id']}")

    assert_error(response, 409, "conflict")
    assert response.headers["x-should-retry"] == "false"


async def test_a_picture_becomes_an_artifact_and_the_model_has_its_say(api: Api, png: bytes) -> None:
    response = await api.http.post(
        "/v1/videos",
        files={**form(prompt="a", model="wan-2.1-i2v-14b-480p"), "input_reference": ("p.png", png)},
    )

    assert response.status_code == 200, response.text
    job = await api.show("job_" + response.json()["id"].removeprefix("video_"))
    artifact_id = job["request"]["clips"][0]["conditions"][0]["source"]["artifact_id"]
    assert (await api.http.get(f"/v1/artifacts/{artifact_id}")).json()["filename"] == "p.png"


@pytest.mark.parametrize(
    ("options", "status", "code", "param"),
    [
        ({"files": form(prompt="a", size="1x1")}, 400, "invalid_request", "size"),
        ({"files": form(prompt="a", seconds="9999")}, 400, "invalid_request", "seconds"),
        ({"files": form(prompt="a", model="sora-2")}, 400, "invalid_request", "model"),
        ({"files": form(seconds="1")}, 400, "invalid_request", "prompt"),
        (
            {"files": {**form(prompt="a"), "input_reference": ("x.png", b"no picture")}},
            400,
            "invalid_request",
            "input_reference",
        ),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_request", None),
        ({"json": [1]}, 400, "invalid_request", None),
        ({"json": {"prompt": "a" * 2_000_000}}, 413, "payload_too_large", None),
        ({"content": b"a"}, 415, "unsupported_media", None),
    ],
)
async def test_a_bad_request_names_the_field(
    api: Api, options: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    assert_error(await api.http.post("/v1/videos", **options), status, code, param)


NO_PICTURE = {"input_reference": ("x.png", b"no picture")}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"files": form(prompt="a", size="1x1", seconds="500")}, ["size", "seconds"]),
        ({"files": form(prompt=" ", size="1x1", seconds="500")}, ["prompt", "size", "seconds"]),
        ({"files": form(prompt="a", steps="0", seconds="500")}, ["steps", "seconds"]),
        ({"files": {**form(prompt=" ", size="1280x721"), **NO_PICTURE}}, ["prompt", "input_reference", "size"]),
        (
            {"json": {"prompt": "a", "clips": '[{"prompt": ""}, {"prompt": "b", "duration_s": 500}]'}},
            ["clips.0.prompt", "seconds"],
        ),
        ({"json": {"prompt": "a", "seconds": 0, "model": "sora-2"}}, ["seconds", "model"]),
    ],
)
async def test_all_faults_of_a_video_are_in_one_message(api: Api, options: dict[str, Any], named: list[str]) -> None:
    error = assert_error(await api.http.post("/v1/videos", **options), 400, "invalid_request", named[0])

    assert re.findall(r"(?:^|\. )([a-z_0-9.]+): ", error["message"]) == named


@pytest.mark.parametrize("reference", ["file", "id"])
async def test_a_first_frame_for_a_video_of_clips_is_refused(api: Api, png: bytes, reference: str) -> None:
    clips, stored = '[{"prompt": "b"}]', {"file_id": "art_01kag3e9zq4f7w5m8x2c6b0n1d"}
    of_file = {"files": {**form(prompt="a", clips=clips), "input_reference": ("p.png", png)}}
    options = of_file if reference == "file" else {"json": {"prompt": "a", "clips": clips, "input_reference": stored}}

    error = assert_error(await api.http.post("/v1/videos", **options), 400, "invalid_request", "input_reference")

    assert "`conditions` of its own" in error["message"]
    assert api.stored_files() == []


async def test_a_picture_beside_a_fault_is_checked_and_not_stored(api: Api, png: bytes) -> None:
    fields = {**form(prompt="a", seconds="0", model="wan-2.1-t2v-1.3b"), "input_reference": ("p.png", png)}

    error = assert_error(await api.http.post("/v1/videos", files=fields), 400, "invalid_request", "seconds")

    assert "input_reference: wan-2.1-t2v-1.3b takes no conditions" in error["message"]
    assert api.stored_files() == []


async def test_elsewhere_errors_stay_problems(api: Api) -> None:
    assert_problem(await api.http.get("/v1/jobs/job_" + "0" * 26), 404, "NOT_FOUND")


async def test_videos_are_their_owners_alone(guarded: GuardedApi) -> None:
    assert_error(await guarded.api.http.get("/v1/videos"), 401, "unauthenticated")
    one, other = await guarded.caller(), await guarded.caller()
    video = await make_video(one)

    assert (await one.http.get(f"/v1/videos/{video['id']}")).status_code == 200
    assert_error(await other.http.get(f"/v1/videos/{video['id']}"), 404, "not_found")
    assert (await other.http.get("/v1/videos")).json()["data"] == []


async def test_a_job_of_another_kind_is_no_video(api: Api) -> None:
    soundtrack = await api.http.post("/v1/soundtracks", json={"source": {"url": "https://example.com/a.mp3"}})
    assert soundtrack.status_code == 202
    video_id = "video_" + soundtrack.json()["id"].removeprefix("job_")

    assert_error(await api.http.get(f"/v1/videos/{video_id}"), 404, "not_found")
    assert_error(await api.http.get(f"/v1/videos/{video_id}/content"), 404, "not_found")
    assert_error(await api.http.delete(f"/v1/videos/{video_id}"), 404, "not_found")


@pytest.fixture
def png() -> bytes:
    written = BytesIO()
    Image.new("RGB", (64, 48), "red").save(written, "PNG")
    return written.getvalue()
