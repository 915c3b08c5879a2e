"""Drafts through the API: what a submission with `hold` answers, and how an approval goes on."""

from typing import Any

import httpx
import pytest

from fixtures.api import Api, reel_body
from fixtures.callers import GuardedApi
from phoenix.storage.keys import OutputName


async def hold(api: Api, **overrides: Any) -> httpx.Response:
    return await api.http.post("/v1/reels", json={**reel_body("a"), "hold": "draft", **overrides})


async def hold_until_asked(api: Api) -> dict[str, Any]:
    job = (await hold(api)).json()
    await finish(api)
    return await api.show(job["id"])


async def finish(api: Api) -> None:
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await api.finish_next("media", OutputName.OUTPUT, b"reel")


async def approve(api: Api, job_id: str) -> httpx.Response:
    return await api.http.post(f"/v1/jobs/{job_id}/approve")


async def test_a_held_reel_names_its_draft_and_the_draft_names_the_reel(api: Api) -> None:
    answer = await hold(api)

    job = answer.json()
    draft = await api.show(job["draft_job_id"])
    assert (answer.status_code, job["state"], draft["state"]) == (202, "held", "queued")
    assert (job["waiting_reason"]["code"], draft["draft_of"]) == ("BLOCKED_BY_DRAFT", job["id"])
    assert (job["queue_position"], job["eta_s"]) == (None, None)


async def test_an_approval_answers_with_the_queued_reel(api: Api) -> None:
    job = await hold_until_asked(api)
    assert job["waiting_reason"]["code"] == "AWAITING_APPROVAL"
    assert f"/v1/jobs/{job['id']}/approve" in job["waiting_reason"]["detail"]

    answer = await approve(api, job["id"])

    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    await finish(api)
    assert (await api.show(job["id"]))["state"] == "succeeded"


async def test_the_files_of_a_draft_can_be_downloaded(api: Api) -> None:
    job = await hold_until_asked(api)

    assert (await api.http.get(f"/v1/jobs/{job['draft_job_id']}/content")).content == b"reel"
    assert (await api.http.get(f"/v1/jobs/{job['draft_job_id']}/clips/0/content")).content == b"clip"


async def test_held_reels_can_be_listed(api: Api) -> None:
    job = await hold_until_asked(api)

    listed = (await api.http.get("/v1/jobs", params={"state": "held"})).json()["data"]

    assert [each["id"] for each in listed] == [job["id"]]


async def test_an_approval_before_the_draft_is_done_is_refused(api: Api) -> None:
    job = (await hold(api)).json()

    answer = await approve(api, job["id"])

    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")


async def test_one_idempotency_key_makes_one_reel_and_one_draft(api: Api) -> None:
    body, headers = {**reel_body("a"), "hold": "draft"}, {"Idempotency-Key": "k"}

    ids = {(await api.http.post("/v1/reels", json=body, headers=headers)).json()["id"] for _ in range(2)}

    assert len(ids) == 1
    assert len((await api.http.get("/v1/jobs")).json()["data"]) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"draft": {"model": "no-such-model"}}, "/draft"),
        ({"hold": "final"}, "/hold"),
        ({"draft": {"quality": "best"}}, "/draft/quality"),
        ({"draft": {"steps": 3}}, "/draft/steps"),
    ],
)
async def test_a_draft_that_cannot_be_made_is_refused_by_name(api: Api, body: dict[str, Any], pointer: str) -> None:
    answer = await hold(api, **body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await api.http.get("/v1/jobs")).json()["data"] == []


async def test_another_owner_cannot_approve(guarded: GuardedApi) -> None:
    mine, other = await guarded.caller(), await guarded.caller()
    job = (await mine.http.post("/v1/reels", json={**reel_body("a"), "hold": "draft"})).json()

    assert (await other.http.post(f"/v1/jobs/{job['id']}/approve")).status_code == 404


async def test_the_webhook_is_called_for_the_approval(api: Api) -> None:
    webhook = {"url": "https://example.com/hook"}
    await hold(api, webhook=webhook)
    await finish(api)

    deliveries = (await api.http.get("/v1/webhooks/deliveries")).json()["data"]

    assert [delivery["type"] for delivery in deliveries] == ["job.awaiting_approval"]


async def test_an_edit_waits_for_the_approval_of_its_draft(api: Api) -> None:
    original = (await api.http.post("/v1/reels", json={**reel_body("a", "b"), "seed": 7})).json()
    for _ in range(2):
        await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await api.finish_next("media", OutputName.OUTPUT, b"reel")
    body = {"clips": [{"op": "reroll", "index": 1, "seed": 99}], "hold": "draft", "draft": {"quality": "draft"}}

    job = (await api.http.post(f"/v1/jobs/{original['id']}/edits", json=body)).json()

    draft = await api.show(job["draft_job_id"])
    assert (job["state"], job["edited_from"], draft["draft_of"]) == ("held", original["id"], job["id"])
    assert [clip["seed"] for clip in draft["clips"]] == [7, 99]
    assert [clip["reused"] for clip in job["clips"]] == [True, False]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"draft": {"quality": "draft"}}, ""),
        ({"hold": "draft", "draft": {"model": "no-such-model"}}, "/draft"),
    ],
)
async def test_a_draft_of_an_edit_that_cannot_be_made_is_refused_by_name(
    api: Api, body: dict[str, Any], pointer: str
) -> None:
    original = (await api.http.post("/v1/reels", json=reel_body("a"))).json()
    await finish(api)

    answer = await api.http.post(f"/v1/jobs/{original['id']}/edits", json={"title": "b", **body})

    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
