"""A client's bounded queue."""

import asyncio

import pytest

from fixtures.event_examples import clip_preview, clip_progress, job_queued, queue_moved
from phoenix.events.fanout.client_buffer import Closing, Delivery, Mailbox
from phoenix.events.messages import encode


async def emptied(mailbox: Mailbox) -> Delivery:
    return await asyncio.wait_for(mailbox.wait(), 1)


async def test_only_the_newest_progress_of_a_clip_is_kept() -> None:
    mailbox = Mailbox(8)
    for step in (1, 3, 2):
        mailbox.put(encode(clip_progress(step)))
    assert [encoded.event for encoded in (await emptied(mailbox)).events] == [clip_progress(3)]


async def test_clips_and_kinds_do_not_displace_each_other() -> None:
    mailbox = Mailbox(8)
    events = [clip_progress(1, clip_index=0), clip_progress(1, clip_index=1), clip_preview(), queue_moved(1)]
    for event in events:
        mailbox.put(encode(event))
    assert [encoded.event for encoded in (await emptied(mailbox)).events] == events


async def test_progress_of_a_later_attempt_displaces_a_higher_step() -> None:
    mailbox = Mailbox(8)
    mailbox.put(encode(clip_progress(9, attempt=1)))
    mailbox.put(encode(clip_progress(1, attempt=2)))
    assert [encoded.event for encoded in (await emptied(mailbox)).events] == [clip_progress(1, attempt=2)]


async def test_progress_is_bounded_by_the_capacity() -> None:
    mailbox = Mailbox(8)
    for clip_index in range(500):
        mailbox.put(encode(clip_progress(1, clip_index=clip_index)))
    kept = (await emptied(mailbox)).events
    assert [encoded.clip_index for encoded in kept] == list(range(492, 500))


async def test_more_durable_events_than_fit_are_left_to_the_log() -> None:
    mailbox = Mailbox(8)
    for seq in range(1, 20):
        mailbox.put(encode(job_queued(seq)))
    delivery = await emptied(mailbox)
    assert delivery.needs_refill
    assert delivery.events == []


async def test_as_many_durable_events_as_fit_are_delivered_in_order() -> None:
    mailbox = Mailbox(8)
    for seq in range(1, 9):
        mailbox.put(encode(job_queued(seq)))
    delivery = await emptied(mailbox)
    assert [encoded.seq for encoded in delivery.events] == list(range(1, 9))
    assert not delivery.needs_refill


async def test_an_emptied_mailbox_has_nothing_to_deliver_in_time() -> None:
    mailbox = Mailbox(8)
    mailbox.beat()
    assert (await emptied(mailbox)).is_heartbeat
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(mailbox.wait(), 0.01)


async def test_the_first_reason_to_close_stays() -> None:
    mailbox = Mailbox(8)
    mailbox.close(Closing.JOB_GONE)
    mailbox.close(Closing.SHUTDOWN)
    assert (await emptied(mailbox)).closing is Closing.JOB_GONE
