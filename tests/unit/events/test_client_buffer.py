"""A client's bounded event buffer."""

import asyncio

import pytest

from fixtures.event_examples import clip_preview, clip_progress, job_queued, queue_moved
from phoenix.events.fanout.client_buffer import ClientBuffer, CloseReason, EventBatch
from phoenix.events.messages import encode


async def emptied(buffer: ClientBuffer) -> EventBatch:
    return await asyncio.wait_for(buffer.wait(), 100)


async def test_only_the_newest_progress_of_a_clip_is_kept() -> None:
    buffer = ClientBuffer(8)
    for step in (1, 3, 2):
        buffer.put(encode(clip_progress(step)))
    assert [encoded.event for encoded in (await emptied(buffer)).events] == [clip_progress(3)]


async def test_clips_and_kinds_do_not_displace_each_other() -> None:
    buffer = ClientBuffer(8)
    events = [clip_progress(1, clip_index=0), clip_progress(1, clip_index=1), clip_preview(), queue_moved(1)]
    for event in events:
        buffer.put(encode(event))
    assert [encoded.event for encoded in (await emptied(buffer)).events] == events


async def test_progress_of_a_later_attempt_displaces_a_higher_step() -> None:
    buffer = ClientBuffer(8)
    buffer.put(encode(clip_progress(9, attempt=1)))
    buffer.put(encode(clip_progress(1, attempt=2)))
    assert [encoded.event for encoded in (await emptied(buffer)).events] == [clip_progress(1, attempt=2)]


async def test_progress_is_bounded_by_the_capacity() -> None:
    buffer = ClientBuffer(8)
    for clip_index in range(500):
        buffer.put(encode(clip_progress(1, clip_index=clip_index)))
    kept = (await emptied(buffer)).events
    assert [encoded.clip_index for encoded in kept] == list(range(492, 500))


async def test_more_durable_events_than_fit_are_left_to_the_log() -> None:
    buffer = ClientBuffer(8)
    for seq in range(1, 20):
        buffer.put(encode(job_queued(seq)))
    batch = await emptied(buffer)
    assert batch.needs_resync
    assert batch.events == []


async def test_as_many_durable_events_as_fit_are_delivered_in_order() -> None:
    buffer = ClientBuffer(8)
    for seq in range(1, 9):
        buffer.put(encode(job_queued(seq)))
    batch = await emptied(buffer)
    assert [encoded.seq for encoded in batch.events] == list(range(1, 9))
    assert not batch.needs_resync


async def test_an_emptied_buffer_makes_its_stream_wait() -> None:
    buffer = ClientBuffer(8)
    buffer.put_heartbeat()
    assert (await emptied(buffer)).is_heartbeat
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(buffer.wait(), 0.01)


async def test_the_first_reason_to_close_stays() -> None:
    buffer = ClientBuffer(8)
    buffer.close(CloseReason.JOB_GONE)
    buffer.close(CloseReason.SHUTDOWN)
    assert (await emptied(buffer)).close_reason is CloseReason.JOB_GONE
