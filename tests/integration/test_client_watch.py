"""Following a job's stream through everything that can happen to a connection."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from fixtures.event_examples import (
    AT,
    JOB_ID,
    a_job,
    clip_progress,
    clip_started,
    clip_succeeded,
    job_canceled,
    job_queued,
    job_started,
)
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.client import AsyncPhoenix, Event, PhoenixProblem
from phoenix.contract import ClipProgress, JobSnapshot, JobState

STREAM = f"/v1/jobs/{JOB_ID}/events"
SOON = "retry: 10\n\n"


def frame(event: Event) -> str:
    is_durable = not isinstance(event, JobSnapshot | ClipProgress)
    number = f"id: {event.seq}\n" if is_durable else ""
    return f"{number}event: {event.type}\ndata: {event.model_dump_json()}\n\n"


def stream(*events: Event, breaks: bool = False, more: str = "") -> Answer:
    text = SOON + "".join(frame(event) for event in events) + more
    return Answer(200, text.encode(), {"content-type": "text/event-stream"}, breaks=breaks)


def snapshot(seq: int, state: JobState = JobState.RUNNING) -> JobSnapshot:
    return JobSnapshot(job_id=JOB_ID, seq=seq, at=AT, job=a_job(state=state, last_seq=seq))


@pytest.fixture
async def phoenix(scripted_server: ScriptedServer) -> AsyncIterator[AsyncPhoenix]:
    async with AsyncPhoenix(scripted_server.url) as client:
        yield client


async def watch(phoenix: AsyncPhoenix) -> list[Event]:
    async with aclosing(phoenix.watch(JOB_ID)) as events:
        return [event async for event in events]


def resume_ids(server: ScriptedServer) -> list[str | None]:
    return [request.headers.get("last-event-id") for request in server.received_at(STREAM)]


async def test_it_ends_after_the_terminal_event(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    sent = [snapshot(1), job_started(2), clip_progress(3, seq=2), job_canceled(3)]
    scripted_server.on("GET", STREAM, stream(*sent))
    assert await watch(phoenix) == sent
    assert scripted_server.received[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("breaks", [True, False])
async def test_a_stream_that_ends_early_is_resumed_after_the_last_event(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer, *, breaks: bool
):
    scripted_server.on("GET", STREAM, stream(snapshot(1), job_started(2), breaks=breaks), stream(job_canceled(3)))
    assert [event.seq for event in await watch(phoenix)] == [1, 2, 3]
    assert resume_ids(scripted_server) == [None, "2"]


async def test_half_an_event_is_not_an_event(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    half = frame(clip_started(2))[:-1]
    scripted_server.on("GET", STREAM, stream(job_queued(1), breaks=True, more=half), stream(job_canceled(2)))
    assert [event.type for event in await watch(phoenix)] == ["job.queued", "job.canceled"]


async def test_after_a_mere_snapshot_it_resumes_from_the_snapshots_number(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    scripted_server.on("GET", STREAM, stream(snapshot(4), breaks=True), stream(clip_succeeded(5), job_canceled(6)))
    assert [event.seq for event in await watch(phoenix)] == [4, 5, 6]
    assert resume_ids(scripted_server) == [None, "4"]


async def test_a_finished_jobs_terminal_event_is_not_lost_with_its_snapshot(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
):
    ended = snapshot(3, JobState.CANCELED)
    scripted_server.on("GET", STREAM, stream(ended, breaks=True), stream(ended, job_canceled(3)))
    assert (await watch(phoenix))[-1] == job_canceled(3)
    assert resume_ids(scripted_server) == [None, None]


async def test_a_repeated_durable_event_is_yielded_once(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on(
        "GET", STREAM, stream(job_queued(1), job_started(2), breaks=True), stream(job_started(2), job_canceled(3))
    )
    assert [event.seq for event in await watch(phoenix)] == [1, 2, 3]


async def test_a_server_whose_log_went_back_is_believed(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on(
        "GET", STREAM, stream(clip_started(9), breaks=True), stream(snapshot(2), clip_started(3), job_canceled(4))
    )
    assert [event.seq for event in await watch(phoenix)] == [9, 2, 3, 4]


async def test_no_content_means_that_every_event_was_sent(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("GET", STREAM, stream(job_queued(1), breaks=True), Answer(204))
    assert await watch(phoenix) == [job_queued(1)]


async def test_a_server_that_is_away_for_a_while_is_waited_for(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    away = Answer(503, headers={"retry-after": "0"})
    scripted_server.on("GET", STREAM, stream(job_queued(1), breaks=True), away, away, stream(job_canceled(2)))
    assert [event.seq for event in await watch(phoenix)] == [1, 2]


async def test_a_proxys_page_is_not_taken_for_a_stream(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    page = Answer(200, b"<h1>maintenance</h1>", {"content-type": "text/html"})
    scripted_server.on("GET", STREAM, stream(job_queued(1)), page, stream(job_canceled(2)))
    assert [event.seq for event in await watch(phoenix)] == [1, 2]


async def test_an_event_of_a_newer_server_is_passed_over(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    newer = f'id: 2\nevent: job.praised\ndata: {{"type": "job.praised", "job_id": "{JOB_ID}", "seq": 2}}\n\n'
    scripted_server.on("GET", STREAM, stream(job_queued(1), more=newer + frame(job_canceled(3))))
    assert [event.seq for event in await watch(phoenix)] == [1, 3]


async def test_comments_between_events_are_not_events(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("GET", STREAM, stream(job_queued(1), more=": beat\n\n: beat\n\n" + frame(job_canceled(2))))
    assert [event.seq for event in await watch(phoenix)] == [1, 2]


async def test_an_unknown_job_is_refused_at_once(phoenix: AsyncPhoenix, scripted_server: ScriptedServer):
    scripted_server.on("GET", STREAM, Answer(404))
    with pytest.raises(PhoenixProblem, match="404"):
        await watch(phoenix)
    assert len(scripted_server.received) == 1
