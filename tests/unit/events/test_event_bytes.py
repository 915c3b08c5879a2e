"""Events as bytes: messages in Redis, and SSE frames."""

import json

import pytest
from pydantic import ValidationError

from fixtures.event_examples import a_history, clip_progress, clip_started, clip_succeeded, job_queued
from phoenix.events.messages import HEARTBEAT_FRAME, decode, encode, retry_frame, to_message


def test_a_durable_frame_has_an_id_an_event_and_one_line_of_data() -> None:
    frame = encode(job_queued(7)).frame
    id_line, event_line, data_line, *rest = frame.split(b"\n")
    assert (id_line, event_line, rest) == (b"id: 7", b"event: job.queued", [b"", b""])
    assert json.loads(data_line.removeprefix(b"data: "))["seq"] == 7


def test_an_ephemeral_frame_has_no_id() -> None:
    assert encode(clip_progress(1, seq=7)).frame.startswith(b"event: clip.progress\ndata: {")


def test_line_breaks_in_a_value_do_not_break_the_frame() -> None:
    started = clip_started(1).model_copy(update={"worker_id": "a\r\nb\n\ndata: c"})
    frame = encode(started).frame
    assert frame.count(b"\n") == 4
    assert b"\r" not in frame


def test_a_message_with_line_breaks_is_written_on_one_line_again() -> None:
    message = job_queued(1).model_dump_json(indent=2).encode()
    assert decode(message) == encode(job_queued(1))


def test_a_published_event_comes_back_equal_and_with_the_same_frame() -> None:
    for event in (*a_history(4), clip_progress(3), clip_succeeded(1)):
        assert decode(to_message(event)) == encode(event)


def test_only_the_terminal_events_are_terminal() -> None:
    assert [encode(event).is_terminal for event in a_history(3)] == [False, False, True]


@pytest.mark.parametrize("message", [b"", b"\xff", b"{}", b'{"type": "job.exploded"}', b"[" * 5000])
def test_a_message_that_is_not_an_event_is_rejected(message: bytes) -> None:
    with pytest.raises(ValidationError):
        decode(message)


def test_an_event_with_higher_progress_keeps_its_bytes() -> None:
    encoded = encode(clip_progress(1, job_progress=0.5))
    assert encoded.with_job_progress_of_at_least(0.5) is encoded


def test_reconnection_times_are_spread_upwards() -> None:
    times_ms = {int(retry_frame(2000, spread=0.5).split()[1]) for _ in range(200)}
    assert min(times_ms) >= 2000
    assert max(times_ms) <= 3000
    assert len(times_ms) > 50


def test_a_heartbeat_is_a_comment() -> None:
    assert HEARTBEAT_FRAME.startswith(b":")
    assert HEARTBEAT_FRAME.endswith(b"\n\n")
