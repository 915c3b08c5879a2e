"""POST /v1/estimates: refused like a submission, and a plan with figures, of which nothing is stored."""

from typing import Any

import httpx
import pytest

from fixtures.api import Api, assert_problem, open_api, reel_body
from fixtures.callers import GuardedApi
from phoenix.access.keys import Scope
from phoenix.contract import ResolvedReel
from phoenix.jobs.scheduling.durations import clip_shape, record_duration
from phoenix.jobs.submission.submit import clip_weight
from phoenix.settings import PriceSettings, Settings
from phoenix.storage.keys import OutputName


async def estimate(api: Api, *prompts: str, **overrides: Any) -> dict[str, Any]:
    answer = await post(api, reel_body(*prompts, **overrides))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(api: Api, body: dict[str, Any]) -> httpx.Response:
    return await api.http.post("/v1/estimates", json=body)


def reasons(estimated: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["detail"] for each in estimated["unknown"]}


async def learn(api: Api, *, seconds: float) -> None:
    """A clip of a second has taken so long here."""
    reel = ResolvedReel.model_validate((await api.submit("a"))["request"])
    weight = clip_weight(reel.clips[0])
    async with api.services.database.write() as uow:
        record_duration(uow, clip_shape(reel.model, reel.clips[0]), weight=weight, duration_s=seconds)


@pytest.mark.parametrize(
    "body",
    [
        {"clips": [{"prompt": ""}], "fps": 99},
        {"clips": [{"prompt": "a"}], "model": "no-such-model"},
        {"clips": [{"prompt": "a", "duration_s": 500}], "soundtrack": {"artifact_id": "art_" + "0" * 26}},
        {"clips": [{"prompt": "a", "conditions": [{"role": "mask", "source": {"previous_clip": True}}]}]},
        {"clips": [{"prompt": "a"}], "hold": "draft", "draft": {"model": "no-such-model"}},
        {"clips": [{"prompt": "a"}], "webhook": {"url": "http://127.0.0.1/"}},
        {"clips": []},
        {"prompt": "a"},
    ],
)
async def test_every_fault_is_that_of_a_submission(api: Api, body: dict[str, Any]) -> None:
    estimated, submitted = await post(api, body), await api.http.post("/v1/reels", json=body)

    assert_problem(estimated, 422, "INVALID_REQUEST")
    assert estimated.json()["errors"] == submitted.json()["errors"]
    assert estimated.json()["detail"] == submitted.json()["detail"]


async def test_nothing_is_stored(api: Api, png_file: Any) -> None:
    picture = (await api.upload(png_file)).json()
    condition = {"role": "first_frame", "source": {"artifact_id": picture["id"]}}
    body = {"clips": [{"prompt": "a", "conditions": [condition]}], "hold": "draft"}

    assert (await post(api, body)).status_code == 200

    assert (await api.http.get("/v1/jobs")).json()["data"] == []
    assert (await api.http.get(f"/v1/artifacts/{picture['id']}")).json() == picture


async def test_a_new_server_knows_the_plan_and_says_why_it_knows_no_time(api: Api) -> None:
    estimated = await estimate(api, "a", "b")

    assert (estimated["duration_s"], estimated["num_frames"], estimated["renders"]) == (2, 32, 2)
    assert (estimated["width"], estimated["height"], estimated["fps"]) == (854, 480, 16)
    assert [estimated[name] for name in ("render_s", "wait_s", "eta_s", "price")] == [None] * 4
    assert reasons(estimated)["render_s"] == "No clip of animatic has been rendered here yet."
    assert reasons(estimated)["wait_s"].startswith("No live worker takes tasks of the queue gpu")


async def test_the_figures_come_from_what_clips_took_here(api_settings: Settings) -> None:
    settings = api_settings.model_copy(update={"prices": PriceSettings(device_hour=36, currency="EUR")})
    async with open_api(settings, leads=False) as api:
        await learn(api, seconds=10)
        await api.register_worker()

        estimated = await estimate(api, "a", "b")

    assert estimated["render_s"] == 20
    assert [clip["render_s"] for clip in estimated["clips"]] == [10, 10]
    assert estimated["price"] == {"amount": 0.2, "currency": "EUR", "basis": "device_hour"}
    # The reel of `learn` is in the queue.
    assert (estimated["queue_position"], estimated["wait_s"]) == (1, 10)
    assert estimated["eta_s"] >= 30
    assert estimated["unknown"] == []


async def test_a_clip_that_would_be_reused_costs_nothing(api: Api) -> None:
    await learn(api, seconds=10)
    await api.finish_next("gpu", OutputName.CLIP, b"clip")
    await api.finish_next("media", OutputName.OUTPUT, b"reel")

    estimated = await estimate(api, "a", "b", reuse=True)

    assert [clip["reused"] for clip in estimated["clips"]] == [1, 0]
    assert (estimated["renders"], estimated["clips"][0]["render_s"]) == (1, 0)
    assert [clip["reused"] for clip in (await api.submit("a", "b", reuse=True))["clips"]] == [True, False]


async def test_a_held_reel_has_the_estimate_of_its_draft(api: Api) -> None:
    estimated = await estimate(api, "a", "b", steps=30, hold="draft", draft={"quality": "draft"})

    assert estimated["draft"]["clips"][0]["steps"] < estimated["clips"][0]["steps"]
    assert reasons(estimated)["eta_s"] == "It waits for the approval of its draft."
    assert reasons(estimated["draft"])["eta_s"].startswith("No live worker")


async def test_a_key_that_may_not_submit_may_not_estimate(guarded: GuardedApi) -> None:
    reader = await guarded.caller(Scope.READ)

    assert_problem(await post(reader, reel_body("a")), 403, "FORBIDDEN")
    assert_problem(await post(guarded.api, reel_body("a")), 401, "UNAUTHENTICATED")


async def test_a_full_queue_refuses_it_like_a_submission(api_settings: Settings) -> None:
    limits = api_settings.limits.model_copy(update={"max_queued_jobs": 1})
    async with open_api(api_settings.model_copy(update={"limits": limits}), leads=False) as api:
        await api.submit("a")

        refused, submitted = await post(api, reel_body("b")), await api.http.post("/v1/reels", json=reel_body("b"))

    assert (refused.status_code, refused.json()["code"]) == (submitted.status_code, "QUEUE_FULL")
    assert refused.headers["retry-after"] == submitted.headers["retry-after"]


async def test_another_owners_clips_are_neither_reused_nor_seen(guarded: GuardedApi) -> None:
    mine, other = await guarded.caller(), await guarded.caller()
    job = await mine.submit("a")
    source = {"job_id": job["id"], "clip_index": 0}
    body = reel_body(clips=[{"prompt": "b", "conditions": [{"role": "first_frame", "source": source}]}])

    refused, submitted = await post(other, body), await other.http.post("/v1/reels", json=body)

    assert refused.status_code == submitted.status_code == 422
    assert refused.json()["errors"] == submitted.json()["errors"]
