"""The asynchronous client against a real server: what it sends, what it repeats, and what it does not."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from fixtures.event_examples import JOB_ID, a_job
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.client import AsyncPhoenix, PhoenixProblem, PhoenixUnreachable, RetryPolicy
from phoenix.contract import (
    Artifact,
    ArtifactKind,
    ClipEdit,
    ClipRequest,
    EditRequest,
    JobChanges,
    JobPage,
    JobState,
    MediaInfo,
    MediaUrls,
    ReelRequest,
    StorageUsage,
)

JOB = Answer(body=a_job().model_dump_json().encode())
ACCEPTED = Answer(202, JOB.body)
DROPPED = Answer(breaks=True)
BUSY = Answer(503, headers={"retry-after": "0"})
QUICK = RetryPolicy(attempts=3, first_delay_s=0.01, longest_delay_s=1)
REEL = ReelRequest(clips=[ClipRequest(prompt="a red balloon")])


@pytest.fixture
async def phoenix(scripted_server: ScriptedServer) -> AsyncIterator[AsyncPhoenix]:
    async with AsyncPhoenix(scripted_server.url, "secret", retry_policy=QUICK) as client:
        yield client


async def test_a_submit_sends_only_what_was_set_and_the_key(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("POST", "/v1/reels", ACCEPTED)
    job = await phoenix.submit_reel(REEL)
    [request] = scripted_server.received
    assert job.id == JOB_ID
    assert request.body == b'{"clips":[{"prompt":"a red balloon"}]}'
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-type"] == "application/json"


async def test_an_estimate_is_asked_for_and_asked_again_if_the_server_is_busy(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    estimate = json.loads((files("phoenix.api.openapi") / "examples.json").read_text())["Estimate"]
    scripted_server.on("POST", "/v1/estimates", BUSY, Answer(body=json.dumps(estimate).encode()))
    assert (await phoenix.estimate_reel(REEL)).model_dump(mode="json") == estimate
    assert {request.body for request in scripted_server.received} == {b'{"clips":[{"prompt":"a red balloon"}]}'}


async def test_a_json_object_is_sent_as_it_is_for_the_server_to_check(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    scripted_server.on("POST", "/v1/reels", ACCEPTED)
    await phoenix.submit_reel({"clips": [{"prompt": " "}], "fps": 999, "duration_s": float("nan")})
    [request] = scripted_server.received
    assert request.body == b'{"clips":[{"prompt":" "}],"fps":999,"duration_s":null}'
    assert request.headers["content-type"] == "application/json"


async def test_a_submit_whose_answer_was_lost_is_repeated_under_the_same_idempotency_key(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    scripted_server.on("POST", "/v1/reels", DROPPED, ACCEPTED)
    await phoenix.submit_reel(REEL)
    first, second = scripted_server.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_two_submits_have_different_idempotency_keys(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("POST", "/v1/reels", ACCEPTED, ACCEPTED)
    await phoenix.submit_reel(REEL)
    await phoenix.submit_reel(REEL)
    first, second = scripted_server.received
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_for_now_is_tried_again(phoenix: AsyncPhoenix, scripted_server: ScriptedServer, status: int):
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", Answer(status, headers={"retry-after": "0"}), JOB)
    assert (await phoenix.get_job(JOB_ID)).id == JOB_ID


async def test_a_server_that_stays_busy_is_given_up(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", BUSY, BUSY, BUSY)
    with pytest.raises(PhoenixProblem, match="503"):
        await phoenix.get_job(JOB_ID)
    assert len(scripted_server.received) == 3


async def test_an_edit_whose_answer_was_lost_is_sent_again_with_the_same_key(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    scripted_server.on("POST", f"/v1/jobs/{JOB_ID}/edits", DROPPED, ACCEPTED)
    await phoenix.edit(JOB_ID, EditRequest(clips=[ClipEdit(op="reroll", index=3)]))
    first, second = scripted_server.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_a_retry_whose_answer_was_lost_is_not_repeated(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("POST", f"/v1/jobs/{JOB_ID}/retry", DROPPED, ACCEPTED)
    with pytest.raises(PhoenixUnreachable):
        await phoenix.retry(JOB_ID)
    assert len(scripted_server.received) == 1


async def test_a_delete_that_a_gateway_gave_up_on_is_not_repeated(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    scripted_server.on("DELETE", f"/v1/jobs/{JOB_ID}", Answer(504), Answer(204))
    with pytest.raises(PhoenixProblem, match="504"):
        await phoenix.delete(JOB_ID)


async def test_a_refusal_for_good_is_raised_at_once(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("POST", f"/v1/jobs/{JOB_ID}/cancel", Answer(404), ACCEPTED)
    with pytest.raises(PhoenixProblem, match="404"):
        await phoenix.cancel(JOB_ID)


async def test_nothing_listening_is_reported_with_the_address():
    async with AsyncPhoenix("http://127.0.0.1:9", retry_policy=QUICK) as phoenix:
        with pytest.raises(PhoenixUnreachable, match=r"http://127\.0\.0\.1:9 does not answer"):
            await phoenix.queue()


async def test_an_upload_that_was_turned_away_is_sent_again_whole(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path
):
    sound = tmp_path / "song.mp3"
    sound.write_bytes(b"\x00\x01" * 50_000)
    artifact = Artifact(
        id="art_1",
        kind=ArtifactKind.UPLOAD,
        media_type="audio/mpeg",
        url="/u",
        size_bytes=100_000,
        sha256="0",
        info=MediaInfo(media="audio", format="mp3"),
        created_at=a_job().created_at,
    )
    scripted_server.on("POST", "/v1/uploads", BUSY, Answer(201, artifact.model_dump_json().encode()))
    assert await phoenix.upload(sound) == artifact
    first, second = scripted_server.received
    assert first.body == second.body
    assert sound.read_bytes() in second.body
    assert b'name="file"; filename="song.mp3"' in second.body


async def test_the_filters_of_a_list_travel_as_its_query(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    page = JobPage(data=[a_job()], has_more=False)
    scripted_server.on("GET", "/v1/jobs", Answer(body=page.model_dump_json().encode()))
    assert await phoenix.list_jobs(state=JobState.RUNNING, limit=5) == page
    assert scripted_server.received[0].query == "state=running&limit=5"


async def test_a_search_travels_as_the_query_of_a_list(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    page = JobPage(data=[], has_more=False)
    scripted_server.on("GET", "/v1/jobs", *[Answer(body=page.model_dump_json().encode())] * 3)
    await phoenix.list_jobs(q="a b", tags=["x", "y"], favorite=False, metadata={"k": "v"})
    await phoenix.list_jobs(q="a", mode="meaning")
    await phoenix.list_jobs(similar_to=JOB_ID)
    assert [each.query for each in scripted_server.received] == [
        "q=a+b&metadata.k=v&tag=x&tag=y&favorite=false",
        "q=a&mode=meaning",
        f"similar_to={JOB_ID}",
    ]


async def test_changes_are_sent_as_they_are_given(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("PATCH", f"/v1/jobs/{JOB_ID}", Answer(body=a_job().model_dump_json().encode()))
    assert await phoenix.change(JOB_ID, JobChanges(title="", tags=[])) == a_job()
    assert scripted_server.received[0].body == b'{"title":"","tags":[]}'


async def test_storage_is_read(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    usage = StorageUsage(size_bytes=4, kinds=[])
    scripted_server.on("GET", "/v1/storage", Answer(body=usage.model_dump_json().encode()))
    assert await phoenix.storage() == usage


async def test_an_id_cannot_reach_another_route(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    with pytest.raises(PhoenixProblem):
        await phoenix.get_job("../queue?x=1")
    assert scripted_server.received[0].query == ""
    assert scripted_server.received_at("/v1/queue") == []


IMPATIENT = RetryPolicy(attempts=3, first_delay_s=3600, longest_delay_s=3600, waits_for_server=False)


async def test_a_server_that_is_not_there_is_not_waited_for_if_the_policy_says_so():
    async with AsyncPhoenix("http://127.0.0.1:9", retry_policy=IMPATIENT) as phoenix:
        with pytest.raises(PhoenixUnreachable):
            await phoenix.models()


async def test_a_server_that_has_answered_once_is_waited_for(scripted_server: ScriptedServer):
    policy = replace(IMPATIENT, first_delay_s=0.01)
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", JOB, DROPPED, JOB)
    async with AsyncPhoenix(scripted_server.url, retry_policy=policy) as phoenix:
        await phoenix.get_job(JOB_ID)
        assert (await phoenix.get_job(JOB_ID)).id == JOB_ID


async def test_urls_for_players_are_asked_for_by_job(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    urls = MediaUrls(
        expires_at=a_job().created_at,
        content="/content?token=t",
        thumbnail=None,
        playlist=None,
        captions="/content?variant=vtt&token=t",
        clips=[],
    )
    scripted_server.on("POST", f"/v1/jobs/{JOB_ID}/media-tokens", Answer(201, urls.model_dump_json().encode()))

    assert await phoenix.media_urls(JOB_ID) == urls
