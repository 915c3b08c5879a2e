"""The blocking client is the asynchronous one, seen from a thread without a loop."""

import signal
import threading
from contextlib import closing

import pytest

from fixtures.event_examples import JOB_ID, a_job, job_canceled, job_queued
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.client import JobUnsuccessful, Phoenix, PhoenixProblem
from phoenix.contract import JobState

STREAM = f"/v1/jobs/{JOB_ID}/events"
SSE = {"content-type": "text/event-stream"}


def frames(*events: object) -> bytes:
    return b"".join(b"data: " + event.model_dump_json().encode() + b"\n\n" for event in events)  # type: ignore[attr-defined]


def test_a_call_returns_what_the_asynchronous_one_would(scripted_server: ScriptedServer):
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", Answer(body=a_job().model_dump_json().encode()))
    with Phoenix(scripted_server.url) as phoenix:
        assert phoenix.get_job(JOB_ID) == a_job()


def test_a_call_raises_what_the_asynchronous_one_would(scripted_server: ScriptedServer):
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", Answer(404))
    with Phoenix(scripted_server.url) as phoenix, pytest.raises(PhoenixProblem, match="404"):
        phoenix.get_job(JOB_ID)


def test_run_returns_the_job_that_has_succeeded(scripted_server: ScriptedServer):
    done = a_job().model_copy(update={"state": JobState.SUCCEEDED})
    scripted_server.on("POST", "/v1/reels", Answer(202, a_job().model_dump_json().encode()))
    scripted_server.on("GET", STREAM, Answer(200, frames(job_queued(1), job_canceled(2)), SSE))
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", Answer(body=done.model_dump_json().encode()))
    seen: list[str] = []
    with Phoenix(scripted_server.url) as phoenix:
        assert phoenix.run("a red balloon", on_event=lambda event: seen.append(event.type)) == done
    assert seen == ["job.queued", "job.canceled"]


@pytest.mark.parametrize(("state", "retriable"), [(JobState.CANCELED, True), (JobState.FAILED, False)])
def test_run_raises_for_a_job_without_a_result(scripted_server: ScriptedServer, state: JobState, retriable: bool):
    ended = a_job().model_copy(update={"state": state})
    scripted_server.on("POST", "/v1/reels", Answer(202, a_job().model_dump_json().encode()))
    scripted_server.on("GET", STREAM, Answer(200, frames(job_queued(1), job_canceled(2)), SSE))
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", Answer(body=ended.model_dump_json().encode()))
    with Phoenix(scripted_server.url) as phoenix, pytest.raises(JobUnsuccessful) as caught:
        phoenix.run(["a red balloon", "the sea"])
    assert (caught.value.code, caught.value.retriable, caught.value.job) == (state.value.upper(), retriable, ended)


def test_a_watch_is_an_iterator(scripted_server: ScriptedServer):
    scripted_server.on("GET", STREAM, Answer(200, frames(job_queued(1), job_canceled(2)), SSE))
    with Phoenix(scripted_server.url) as phoenix:
        assert list(phoenix.watch(JOB_ID)) == [job_queued(1), job_canceled(2)]


def test_a_watch_that_is_left_early_lets_the_client_close(scripted_server: ScriptedServer):
    scripted_server.on("GET", STREAM, Answer(200, frames(job_queued(1)), SSE))
    with Phoenix(scripted_server.url) as phoenix, closing(phoenix.watch(JOB_ID)) as events:
        assert next(events) == job_queued(1)


def test_ctrl_c_interrupts_a_watch_that_waits(scripted_server: ScriptedServer):
    # The stream's end is followed by a wait before the reconnection: that is where the interrupt arrives.
    scripted_server.on("GET", STREAM, Answer(200, b"retry: 30000\n\n" + frames(job_queued(1)), SSE))
    before = threading.active_count()
    with Phoenix(scripted_server.url) as phoenix, closing(phoenix.watch(JOB_ID)) as events:
        assert next(events) == job_queued(1)
        interrupt = threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            next(events)
    interrupt.join()
    assert threading.active_count() == before
