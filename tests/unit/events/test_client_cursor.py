"""What may be sent to one client next, for every order in which messages can arrive."""

from hypothesis import given
from hypothesis import strategies as st

from fixtures.event_examples import (
    AT,
    JOB_ID,
    a_clip,
    a_history,
    a_job,
    clip_failed,
    clip_preview,
    clip_progress,
    clip_retrying,
    clip_started,
    clip_succeeded,
    job_canceled,
    job_queued,
    job_started,
    queue_moved,
)
from phoenix.contract import (
    ClipProgress,
    ClipState,
    ClipSucceeded,
    DurableEvent,
    EphemeralEvent,
    Job,
    JobSnapshot,
    JobState,
)
from phoenix.events.messages import EncodedEvent, encode
from phoenix.events.sse.cursor import ClientCursor, SendDecision

LENGTH = 12


def sent_events(cursor: ClientCursor, *events: DurableEvent | EphemeralEvent) -> list[DurableEvent | EphemeralEvent]:
    """The events that are sent when they arrive one at a time, and no event is early."""
    sent: list[DurableEvent | EphemeralEvent] = []
    for event in events:
        ready, early = cursor.admit([encode(event)])
        assert not early
        sent += [encoded.event for encoded in ready]
    return sent


def after_snapshot(job: Job, seq: int = 5) -> ClientCursor:
    cursor = ClientCursor()
    cursor.restart(JobSnapshot(job_id=JOB_ID, seq=seq, at=AT, job=job))
    return cursor


@given(
    batches=st.lists(st.lists(st.integers(1, LENGTH), max_size=6), max_size=12),
    start=st.integers(0, LENGTH),
)
def test_any_order_of_messages_yields_every_number_once_and_in_order(batches: list[list[int]], start: int) -> None:
    history = a_history(LENGTH)
    cursor = ClientCursor(sent_seq=start)
    sent: list[EncodedEvent] = []
    # The empty batch stands for the heartbeat's check of the head, which repairs a lost last message.
    for batch in [*batches, []]:
        ready, early = cursor.admit([encode(history[seq - 1]) for seq in batch])
        sent += ready
        if early or not batch:
            rows = history[cursor.sent_seq :]
            assert cursor.continues(rows)
            sent += [cursor.record(encode(row)) for row in rows]
            sent += cursor.release(early)
    assert [encoded.seq for encoded in sent] == list(range(start + 1, LENGTH + 1))
    assert cursor.is_over or start == LENGTH


progress_events = st.builds(
    clip_progress,
    step=st.integers(0, 100),
    clip_index=st.integers(0, 2),
    attempt=st.integers(1, 3),
    job_progress=st.floats(0, 1),
)


@given(st.lists(progress_events))
def test_progress_never_goes_backwards_in_any_order_of_arrival(events: list[ClipProgress]) -> None:
    sent = [event for event in sent_events(ClientCursor(), *events) if isinstance(event, ClipProgress)]
    for clip_index in range(3):
        steps = [(event.attempt, event.step) for event in sent if event.clip_index == clip_index]
        assert steps == sorted(set(steps))
    shares = [event.job_progress for event in sent]
    assert shares == sorted(shares)


def test_an_event_after_a_gap_waits_for_the_log() -> None:
    assert ClientCursor(sent_seq=3).decide(encode(job_started(5))) is SendDecision.RESYNC


def test_an_event_that_was_sent_is_dropped() -> None:
    assert ClientCursor(sent_seq=3).decide(encode(job_started(3))) is SendDecision.DROP


def test_a_message_that_the_log_lacks_is_not_sent() -> None:
    cursor = ClientCursor(sent_seq=3)
    _, early = cursor.admit([encode(job_started(9))])
    assert cursor.release(early) == []
    assert cursor.sent_seq == 3


def test_progress_waits_for_the_start_of_its_attempt() -> None:
    cursor = ClientCursor(sent_seq=1)
    progress = encode(clip_progress(1, seq=2))
    ready, early = cursor.admit([progress])
    assert (ready, early) == ([], [progress])
    cursor.record(encode(clip_started(2)))
    assert cursor.release(early) == [progress]


def test_progress_after_an_unknown_event_causes_one_resync_only() -> None:
    cursor = ClientCursor(sent_seq=1)
    _, early = cursor.admit([encode(clip_progress(1, seq=99))])
    assert len(cursor.release(early)) == 1
    ready, early = cursor.admit([encode(clip_progress(2, seq=99))])
    assert (len(ready), early) == (1, [])


def test_durable_events_are_sent_before_the_progress_of_the_same_batch() -> None:
    cursor = ClientCursor(sent_seq=1)
    batch = [clip_progress(1, seq=2), clip_started(2), clip_progress(2, seq=2)]
    ready, early = cursor.admit([encode(event) for event in batch])
    assert [encoded.type for encoded in ready] == ["clip.started", "clip.progress", "clip.progress"]
    assert early == []


def test_progress_of_a_clip_that_has_ended_is_dropped() -> None:
    for ended in (clip_succeeded(1), clip_failed(1), clip_retrying(1)):
        assert sent_events(ClientCursor(), ended, clip_progress(50, seq=1)) == [ended]


def test_a_preview_of_a_clip_that_has_ended_is_dropped() -> None:
    assert sent_events(ClientCursor(), clip_succeeded(1), clip_preview(seq=1)) == [clip_succeeded(1)]


def test_a_new_attempt_may_start_again_from_its_first_step() -> None:
    events = [clip_progress(60), clip_retrying(1), clip_started(2, attempt=2), clip_progress(1, attempt=2)]
    assert sent_events(ClientCursor(), *events) == events


def test_progress_of_an_earlier_attempt_is_dropped_after_the_next_one_started() -> None:
    started = clip_started(1, attempt=2)
    assert sent_events(ClientCursor(), started, clip_progress(60, attempt=1)) == [started]


def test_repeated_progress_is_dropped() -> None:
    assert len(sent_events(ClientCursor(), clip_progress(5), clip_progress(5))) == 1


def test_the_progress_of_the_job_is_raised_to_the_progress_that_the_client_has_seen() -> None:
    cursor = ClientCursor()
    first = clip_progress(5, clip_index=0, job_progress=0.6)
    sent = sent_events(cursor, first, clip_progress(5, clip_index=1, job_progress=0.4), clip_succeeded(1, progress=0.5))
    _, second, third = sent
    assert isinstance(second, ClipProgress)
    assert second.job_progress == 0.6
    assert isinstance(third, ClipSucceeded)
    assert third.progress == 0.6


def test_live_progress_that_a_snapshot_already_showed_is_dropped() -> None:
    cursor = after_snapshot(a_job(progress=0.3, clips=[a_clip(step=4)]))
    assert sent_events(cursor, clip_progress(4, seq=5).model_copy(update={"progress": 0.4})) == []


def test_a_snapshot_raises_the_progress_of_the_job() -> None:
    cursor = after_snapshot(a_job(progress=0.3, clips=[a_clip(step=4)]))
    (sent,) = sent_events(cursor, clip_progress(50, seq=5, job_progress=0.1))
    assert isinstance(sent, ClipProgress)
    assert sent.job_progress == 0.3


def test_progress_of_an_attempt_that_a_snapshot_showed_as_lost_is_dropped() -> None:
    cursor = after_snapshot(a_job(clips=[a_clip(state=ClipState.QUEUED, attempt=1)]))
    assert sent_events(cursor, clip_progress(50, seq=5, attempt=1)) == []


def test_queue_positions_are_sent_only_until_the_job_starts() -> None:
    moved = queue_moved(1)
    assert sent_events(ClientCursor(), moved, job_started(1), queue_moved(0)) == [moved, job_started(1)]


def test_what_a_running_job_waits_for_is_sent_unless_something_durable_happened_since() -> None:
    waits = queue_moved(None, seq=1)
    assert sent_events(ClientCursor(), job_started(1), waits, clip_started(2), waits) == [
        job_started(1),
        waits,
        clip_started(2),
    ]


def test_queue_positions_are_sent_again_after_a_retry() -> None:
    cursor = after_snapshot(a_job(state=JobState.RUNNING))
    assert sent_events(cursor, queue_moved(2), job_queued(6), queue_moved(3)) == [job_queued(6), queue_moved(3)]


def test_a_terminal_event_ends_the_stream() -> None:
    cursor = ClientCursor()
    sent_events(cursor, job_canceled(1))
    assert cursor.is_over


def test_a_job_that_was_retried_goes_on_after_its_terminal_event() -> None:
    cursor = ClientCursor()
    cursor.admit([encode(job_queued(2)), encode(job_canceled(1))])
    assert not cursor.is_over


def test_a_gap_between_rows_is_detected() -> None:
    assert not ClientCursor(sent_seq=1).continues([job_queued(3)])
