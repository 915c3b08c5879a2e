"""What operators see beside the jobs of other keys: the order of a queue, files, streams. Drafts that are approved."""

from pathlib import Path
from typing import Any

from builders import claim_next
from fixtures.api import Api, assert_problem, open_stream
from fixtures.callers import GuardedApi, id_of
from phoenix.access.keys import Scope
from phoenix.storage.keys import OutputName

SECRET = "a secret harbour"


async def order_of(api: Api, queue: str = "gpu", **params: Any) -> dict[str, Any]:
    return (await api.http.get(f"/v1/queues/{queue}/jobs", params=params)).json()


async def test_the_jobs_of_a_queue_are_listed_in_the_order_in_which_they_start(
    owner: Api, admin: Api, key: str
) -> None:
    await owner.register_worker()
    first, second, third = [await owner.submit(SECRET) for _ in range(3)]
    await admin.http.patch(f"/v1/jobs/{third['id']}?owner=all", json={"position": "front"})

    found = (await order_of(admin))["data"]

    assert [each["job_id"] for each in found] == [third["id"], first["id"], second["id"]]
    assert [each["moved_to_front"] for each in found] == [True, False, False]
    assert {(each["owner_id"], each["tasks"], each["model"]) for each in found} == {(id_of(key), 1, "animatic")}
    assert SECRET not in str(found)


async def test_each_job_of_a_queue_has_the_reason_why_it_waits(owner: Api, admin: Api) -> None:
    await owner.register_worker()
    await owner.submit()
    await admin.http.post("/v1/queues/gpu/pause", json={"reason": "new drivers"})

    (found,) = (await order_of(admin))["data"]

    assert found["waiting_reason"] == {"code": "PAUSED", "detail": "The queue gpu is paused: new drivers."}


async def test_a_job_of_a_paused_key_has_no_turn(owner: Api, admin: Api, key: str) -> None:
    await owner.submit()
    await admin.http.post(f"/v1/keys/{id_of(key)}/pause")

    assert await order_of(admin) == {"data": [], "has_more": False}


async def test_a_job_counts_once_with_all_of_its_tasks_that_wait(owner: Api, operator: Api) -> None:
    job, _behind = await owner.submit("one", "two", "three"), await owner.submit("four")
    await claim_next(owner.services.database)

    found = await order_of(operator, limit=1)

    assert [(each["job_id"], each["tasks"], each["state"]) for each in found["data"]] == [(job["id"], 2, "running")]
    assert found["has_more"]


async def test_the_order_of_a_queue_is_for_operators(owner: Api) -> None:
    assert_problem(await owner.http.get("/v1/queues/gpu/jobs"), 403, "FORBIDDEN")


async def held(owner: Api) -> str:
    """A job whose draft is done."""
    job = (
        await owner.http.post("/v1/reels", json={"clips": [{"prompt": SECRET, "duration_s": 1}], "hold": "draft"})
    ).json()
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await owner.finish_next("media", OutputName.OUTPUT, b"reel")
    return job["id"]


async def test_an_administrator_approves_the_draft_of_another_key(owner: Api, admin: Api, key: str) -> None:
    job_id = await held(owner)

    approved = await admin.http.post(f"/v1/jobs/{job_id}/approve?owner=all")

    assert (approved.status_code, approved.json()["state"], approved.json()["words_hidden"]) == (202, "queued", True)
    (entry,) = (await admin.http.get("/v1/audit")).json()["data"]
    assert (entry["action"], entry["target"], entry["owner"]) == ("job.approve", job_id, id_of(key))


async def test_an_operator_approves_nothing_of_others(guarded: GuardedApi, owner: Api) -> None:
    job_id = await held(owner)
    operator = await guarded.caller(Scope.OPERATOR, Scope.WRITE)

    assert_problem(await operator.http.post(f"/v1/jobs/{job_id}/approve?owner=all"), 403, "FORBIDDEN")


async def test_an_operator_lists_the_files_of_all_keys_without_their_names(
    guarded: GuardedApi, owner: Api, operator: Api, key: str, wav_file: Path
) -> None:
    other = await guarded.caller()
    mine, others = (await owner.upload(wav_file)).json(), (await other.upload(wav_file)).json()

    everything = (await operator.http.get("/v1/artifacts?owner=all")).json()["data"]
    of_one = (await operator.http.get("/v1/artifacts", params={"owner": id_of(key)})).json()["data"]

    assert mine["filename"] == wav_file.name
    assert [(each["id"], each["filename"]) for each in everything] == [(others["id"], None), (mine["id"], None)]
    assert [(each["id"], each["owner_id"]) for each in of_one] == [(mine["id"], id_of(key))]


async def test_names_of_files_that_are_hidden_cannot_be_searched(operator: Api, key: str) -> None:
    of_one = await operator.http.get("/v1/artifacts", params={"owner": id_of(key), "q": "harbour"})

    assert_problem(of_one, 403, "FORBIDDEN")
    assert_problem(await operator.http.get("/v1/artifacts?owner=all&q=harbour"), 422, "INVALID_REQUEST")


async def test_an_operator_follows_all_jobs_of_one_key_without_its_words(owner: Api, operator: Api, key: str) -> None:
    job = await owner.submit(SECRET, title=SECRET)

    async with open_stream(operator, f"/v1/events?owner={id_of(key)}") as stream:
        await stream.until("event: snapshot")
        await owner.http.post(f"/v1/jobs/{job['id']}/cancel")
        await stream.until("event: job.canceled")
        newer = await owner.submit(SECRET)
        await stream.until(newer["id"])

    assert SECRET not in stream.text
    assert "(hidden)" in stream.text


async def test_a_stream_is_of_one_owner(owner: Api, operator: Api, key: str, guarded: GuardedApi) -> None:
    stranger = await guarded.caller()

    assert_problem(await operator.http.get("/v1/events?owner=all"), 422, "INVALID_REQUEST")
    assert_problem(await stranger.http.get(f"/v1/events?owner={id_of(key)}"), 403, "FORBIDDEN")
