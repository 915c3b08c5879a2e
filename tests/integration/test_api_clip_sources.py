"""Finished clips as sources of new clips: only the caller's, only once they are done, and kept while needed."""

from typing import Any

import pytest

from builders import claim_next, complete_next, get_job, submit_reel
from fixtures.api import Api, assert_problem, pointers, reel_body

POINTER = "/clips/0/conditions/0/source/job_id"


def continuing(job_id: str, index: int = 0) -> dict[str, Any]:
    source = {"job_id": job_id, "clip_index": index}
    return {"clips": [{"prompt": "and then", "conditions": [{"role": "first_frame", "source": source}]}]}


async def finish_reel(api: Api, **options: Any) -> str:
    job_id = await submit_reel(api.services.database, **options)
    await complete_next(api.services.database)
    await complete_next(api.services.database, "media")
    return job_id


async def test_a_finished_clip_is_resolved_to_its_file(api: Api) -> None:
    job_id = await finish_reel(api)

    response = await api.http.post("/v1/reels", json=reel_body() | continuing(job_id))

    assert response.status_code == 202, response.text
    (condition,) = response.json()["request"]["clips"][0]["conditions"]
    file = (await get_job(api.services.database, job_id)).tasks[0].artifact_id
    assert condition["clip_artifact_id"] == file
    assert condition["source"] == {"job_id": job_id, "clip_index": 0}


async def test_a_clip_is_a_source_before_its_reel_is_done(api: Api) -> None:
    job_id = await submit_reel(api.services.database, "one", "two")
    await complete_next(api.services.database)

    first = await api.http.post("/v1/reels", json=reel_body() | continuing(job_id, 0))
    second = await api.http.post("/v1/reels", json=reel_body() | continuing(job_id, 1))

    assert first.status_code == 202
    assert pointers(assert_problem(second, 422, "INVALID_REQUEST")) == [POINTER]


@pytest.mark.parametrize("index", [0, 7])
async def test_a_clip_of_another_owner_looks_like_a_clip_that_is_not_there(api: Api, index: int) -> None:
    job_id = await finish_reel(api, owner_id="somebody")

    response = await api.http.post("/v1/reels", json=reel_body() | continuing(job_id, index))

    problem = assert_problem(response, 422, "INVALID_REQUEST")
    assert pointers(problem) == [POINTER]
    assert "finished clip" in response.text


async def test_a_job_is_kept_while_an_unfinished_job_needs_its_clip(api: Api) -> None:
    job_id = await finish_reel(api)
    later = (await api.http.post("/v1/reels", json=reel_body() | continuing(job_id))).json()["id"]

    while_needed = await api.http.delete(f"/v1/jobs/{job_id}")
    await api.http.post(f"/v1/jobs/{later}/cancel")
    afterwards = await api.http.delete(f"/v1/jobs/{job_id}")

    assert later in assert_problem(while_needed, 409, "ARTIFACT_IN_USE")["job_ids"]
    assert afterwards.status_code == 204


async def test_a_retry_needs_the_clip_again(api: Api) -> None:
    job_id = await finish_reel(api)
    later = (await api.http.post("/v1/reels", json=reel_body() | continuing(job_id))).json()["id"]
    await api.http.post(f"/v1/jobs/{later}/cancel")
    await api.http.delete(f"/v1/jobs/{job_id}")

    response = await api.http.post(f"/v1/jobs/{later}/retry")

    assert_problem(response, 409, "CONFLICT")


async def test_the_first_clip_of_a_reel_cannot_continue_a_clip_before_it(api: Api) -> None:
    clips = [{"prompt": "a", "conditions": [{"role": "first_frame", "source": {"previous_clip": True}}]}]

    response = await api.http.post("/v1/reels", json=reel_body() | {"clips": clips})

    expected = ["/clips/0/conditions/0/source/previous_clip"]
    assert pointers(assert_problem(response, 422, "INVALID_REQUEST")) == expected


async def test_a_chain_says_what_each_clip_waits_for_and_the_queue_counts_one_clip(api: Api) -> None:
    chained = {"prompt": "b", "conditions": [{"role": "first_frame", "source": {"previous_clip": True}}]}
    job = (await api.http.post("/v1/reels", json=reel_body() | {"clips": [{"prompt": "a"}, chained]})).json()
    behind = (await api.http.post("/v1/reels", json=reel_body())).json()

    assert [clip["waits_for_clip"] for clip in job["clips"]] == [None, 0]
    assert (job["queue_position"], behind["queue_position"]) == (0, 1)
    await claim_next(api.services.database)
    # The clip that waits is in no queue: the slot will be free between the two clips.
    assert (await api.http.get(f"/v1/jobs/{behind['id']}")).json()["queue_position"] == 0
