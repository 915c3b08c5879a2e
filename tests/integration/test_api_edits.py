"""Edits through the API: a new job, of which only the changed clips are rendered, and what is refused."""

from typing import Any

import httpx
import pytest

from fixtures.api import Api
from fixtures.callers import GuardedApi
from phoenix.storage.keys import OutputName


async def finished(api: Api, *prompts: str, **overrides: Any) -> str:
    """The id of a reel that has succeeded."""
    job = await api.submit(*prompts, **overrides)
    await finish(api, len(prompts))
    return job["id"]


async def finish(api: Api, clips: int) -> None:
    for number in range(clips):
        await api.finish_next("gpu", OutputName.CLIP, b"clip %d" % number)
    await api.finish_next("media", OutputName.OUTPUT, b"reel")


async def edit(api: Api, job_id: str, *clips: dict[str, Any], **changes: Any) -> httpx.Response:
    return await api.http.post(f"/v1/jobs/{job_id}/edits", json={"clips": list(clips), **changes})


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


REROLL = {"op": "reroll", "index": 1}


async def test_only_the_changed_clip_is_rendered(api: Api) -> None:
    original = await finished(api, "a", "b", "c", title="First")

    answer = await edit(api, original, REROLL)

    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert [(clip["reused"], clip["state"]) for clip in job["clips"]] == [
        (True, "succeeded"),
        (False, "queued"),
        (True, "succeeded"),
    ]
    assert (job["edited_from"], job["title"]) == (original, "First")
    await finish(api, 1)
    assert (await api.show(job["id"]))["state"] == "succeeded"
    assert (await api.show(original))["edited_from"] is None


async def test_reused_clips_are_served_after_the_original_is_deleted(api: Api) -> None:
    original = await finished(api, "a", "b")
    job = (await edit(api, original, {"op": "move", "index": 1, "to": 0})).json()
    await finish(api, 0)

    assert (await api.http.delete(f"/v1/jobs/{original}")).status_code == 204

    contents = [(await api.http.get(clip["url"])).content for clip in job["clips"]]
    assert contents == [b"clip 1", b"clip 0"]


async def test_an_edit_without_reuse_renders_every_clip(api: Api) -> None:
    original = await finished(api, "a", "b")

    job = (await edit(api, original, REROLL, reuse=False)).json()

    assert [clip["reused"] for clip in job["clips"]] == [False, False]


async def test_a_job_that_was_canceled_can_be_edited(api: Api) -> None:
    job = await api.submit("a", "b")
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await api.http.post(f"/v1/jobs/{job['id']}/cancel")

    edited = (await edit(api, job["id"], REROLL)).json()

    assert [clip["reused"] for clip in edited["clips"]] == [True, False]


async def test_a_job_under_way_and_a_job_of_another_kind_cannot_be_edited(api: Api) -> None:
    running = await api.submit("a", "b")
    sound = {"source": {"url": "https://example.com/a.mp3"}}
    soundtrack = (await api.http.post("/v1/soundtracks", json=sound)).json()

    answers = [await edit(api, job["id"], REROLL) for job in (running, soundtrack)]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "CONFLICT")] * 2
    assert "wait until it has ended" in answers[0].json()["detail"]


async def test_an_unknown_job_is_not_found(api: Api) -> None:
    assert (await edit(api, "job_" + "0" * 26, REROLL)).status_code == 404


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"clips": [{"op": "reroll", "index": 7}]}, ["/clips/0/index"]),
        ({"clips": [{"op": "take", "index": 0, "take": 1}]}, ["/clips/0/take"]),
        (
            {"clips": [{"op": "replace", "index": 0, "clip": {"prompt": "x", "duration_s": 500}}]},
            ["/clips/0/clip/duration_s"],
        ),
        ({"model": "nobody-has-it"}, ["/model"]),
        ({"transition": {"kind": "crossfade", "duration_s": 5}}, ["/transition/duration_s"]),
        ({"soundtrack": {"artifact_id": "art_" + "0" * 26}}, ["/soundtrack/artifact_id"]),
        ({"clips": [{"op": "spin", "index": 0}], "fps": 3}, ["/clips/0/op", "/fps"]),
    ],
)
async def test_bad_input_is_named_by_its_place_in_the_edit(api: Api, body: dict[str, Any], wrong: list[str]) -> None:
    original = await finished(api, "a", "b")

    answer = await api.http.post(f"/v1/jobs/{original}/edits", json=body)

    assert (answer.status_code, pointers(answer)) == (422, wrong)


async def test_the_same_key_makes_one_edit_also_after_the_original_is_deleted(api: Api) -> None:
    original = await finished(api, "a", "b")
    headers, body = {"Idempotency-Key": "k"}, {"clips": [REROLL]}

    async def send() -> httpx.Response:
        return await api.http.post(f"/v1/jobs/{original}/edits", json=body, headers=headers)

    first = await send()
    await api.http.delete(f"/v1/jobs/{original}")
    again = await send()

    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"


async def test_to_another_key_and_to_nobody_the_original_does_not_exist(guarded: GuardedApi) -> None:
    mine, theirs = await guarded.caller(), await guarded.caller()
    original = await finished(mine, "a", "b")

    answers = [await edit(api, original, REROLL) for api in (mine, theirs, guarded.api)]

    assert [answer.status_code for answer in answers] == [202, 404, 401]


async def test_an_equal_submission_is_reused_unless_it_says_otherwise(api: Api) -> None:
    await finished(api, "a", seed=5)

    async def is_reused(**overrides: Any) -> bool:
        return (await api.submit("a", **overrides))["clips"][0]["reused"]

    assert await is_reused(seed=5, reuse=True)
    assert not await is_reused(seed=5, reuse=False)
    assert not await is_reused(seed=6, reuse=True)
