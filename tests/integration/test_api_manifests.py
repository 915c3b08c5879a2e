"""The manifest of a job: what it names, and that its request makes the same reel."""

from typing import Any

from fixtures.api import Api, reel_body
from fixtures.callers import GuardedApi
from phoenix.storage.keys import OutputName


async def finished(api: Api, **overrides: Any) -> str:
    answer = await api.http.post("/v1/reels", json=reel_body("a", "b", **overrides))
    await finish(api)
    return answer.json()["id"]


async def finish(api: Api) -> None:
    for number in range(2):
        await api.finish_next("gpu", OutputName.CLIP, b"clip %d" % number)
    await api.finish_next("media", OutputName.OUTPUT, b"reel")


async def read_manifest(api: Api, job_id: str) -> dict[str, Any]:
    answer = await api.http.get(f"/v1/jobs/{job_id}/manifest")
    assert answer.status_code == 200
    return answer.json()


async def test_a_manifest_has_the_hashes_of_all_files(api: Api) -> None:
    job = await api.show(await finished(api))

    manifest = await read_manifest(api, job["id"])

    assert manifest["output"]["sha256"] == job["output"]["sha256"]
    assert [clip["artifact_id"] for clip in manifest["clips"]] == [clip["artifact_id"] for clip in job["clips"]]
    assert all(clip["sha256"] and clip["content_key"] for clip in manifest["clips"])


async def test_a_manifest_has_the_request_with_its_seeds(api: Api) -> None:
    job_id = await finished(api, seed=5)

    manifest = await read_manifest(api, job_id)

    assert manifest["request"] == (await api.show(job_id))["request"]
    assert [clip["seed"] for clip in manifest["clips"]] == [5, 6]


async def test_the_replay_of_a_manifest_is_the_same_reel_and_reuses_nothing(api: Api) -> None:
    manifest = await read_manifest(api, await finished(api, aspect_ratio="9:16", steps=7))

    replay = manifest["replay"]
    again = (await api.http.post(replay["path"], json=replay["body"])).json()

    assert again["request"]["clips"] == manifest["request"]["clips"]
    assert not any(clip["reused"] for clip in again["clips"])
    await finish(api)
    keys = [clip["content_key"] for clip in (await read_manifest(api, again["id"]))["clips"]]
    assert keys == [clip["content_key"] for clip in manifest["clips"]]


async def test_a_manifest_names_the_files_of_the_request(api: Api) -> None:
    first = await finished(api)
    clip = {"job_id": first, "clip_index": 0}
    condition = {"role": "first_frame", "source": clip}
    body = {"clips": [{"prompt": "c", "conditions": [condition]}, {"prompt": "d"}]}
    job_id = (await api.http.post("/v1/reels", json={**reel_body("c"), **body})).json()["id"]
    await finish(api)

    (named,) = (await read_manifest(api, job_id))["inputs"]

    original = (await read_manifest(api, first))["clips"][0]
    assert (named["artifact_id"], named["sha256"]) == (original["artifact_id"], original["sha256"])
    assert named["pointer"] == "/clips/0/conditions/0/source/job_id"


async def test_a_job_without_a_result_has_no_manifest(api: Api) -> None:
    job = (await api.http.post("/v1/reels", json=reel_body("a"))).json()

    answer = await api.http.get(f"/v1/jobs/{job['id']}/manifest")

    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")


async def test_another_owner_cannot_read_a_manifest(guarded: GuardedApi) -> None:
    mine, other = await guarded.caller(), await guarded.caller()
    job_id = await finished(mine)

    assert (await other.http.get(f"/v1/jobs/{job_id}/manifest")).status_code == 404
