"""Rounds in which all who follow a topic are told."""

import asyncio

from fixtures.event_examples import JOB_ID, clip_progress, job_queued
from phoenix.events.fanout.client_buffer import Delivery, Mailbox
from phoenix.events.fanout.hub import PER_TURN, JobTopic, Watcher, Watchers
from phoenix.events.messages import EncodedEvent, encode

CAPACITY = 8
MANY = 2 * PER_TURN + 1


def crowd(count: int) -> tuple[Watchers, list[Watcher]]:
    everyone = [Watcher(JobTopic(JOB_ID), Mailbox(CAPACITY)) for _ in range(count)]
    watchers = Watchers(CAPACITY)
    watchers.update(everyone)
    return watchers, everyone


async def has_mail(watcher: Watcher) -> bool:
    return await arrived(watcher) != Delivery()


async def arrived(watcher: Watcher) -> Delivery:
    """What is in the mailbox, which a heartbeat makes answer even if that is nothing."""
    watcher.mailbox.beat()
    delivery = await watcher.mailbox.wait()
    return Delivery(delivery.events, delivery.needs_refill)


async def after_the_round() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def seqs(events: list[EncodedEvent]) -> list[int]:
    return [encoded.seq for encoded in events]


async def test_few_watchers_are_told_at_once() -> None:
    watchers, everyone = crowd(PER_TURN)
    watchers.tell(encode(job_queued(1)))
    assert all([await has_mail(watcher) for watcher in everyone])


async def test_many_watchers_are_told_in_turns() -> None:
    watchers, everyone = crowd(MANY)
    watchers.tell(encode(job_queued(1)))
    # Asking a mailbox that is not empty does not yield to the loop.
    assert sum([await has_mail(watcher) for watcher in everyone]) == PER_TURN


async def test_every_one_of_many_watchers_is_told_each_event_once_and_in_order() -> None:
    watchers, everyone = crowd(MANY)
    for seq in range(1, 5):
        watchers.tell(encode(job_queued(seq)))
    await after_the_round()
    assert all([seqs((await arrived(watcher)).events) == [1, 2, 3, 4] for watcher in everyone])


async def test_of_progress_that_comes_during_a_round_the_newest_is_kept_for_the_next() -> None:
    watchers, _ = crowd(MANY)
    for step in range(1, 5):
        watchers.tell(encode(clip_progress(step)))
    first = next(iter(watchers))
    before = (await arrived(first)).events
    await after_the_round()
    after = (await arrived(first)).events
    assert [encoded.event for encoded in before + after] == [clip_progress(1), clip_progress(4)]


async def test_more_durable_events_than_fit_during_a_round_are_left_to_the_log() -> None:
    watchers, everyone = crowd(MANY)
    for seq in range(1, CAPACITY + 3):
        watchers.tell(encode(job_queued(seq)))
    await after_the_round()
    assert all([(await arrived(watcher)).needs_refill for watcher in everyone])


async def test_after_the_rounds_an_event_starts_a_new_one() -> None:
    watchers, everyone = crowd(MANY)
    watchers.tell(encode(job_queued(1)))
    await after_the_round()
    watchers.tell(encode(job_queued(2)))
    await after_the_round()
    assert all([seqs((await arrived(watcher)).events) == [1, 2] for watcher in everyone])


async def test_who_joins_during_a_round_is_told_what_comes_after_it() -> None:
    watchers, _ = crowd(MANY)
    watchers.tell(encode(job_queued(1)))
    late = Watcher(JobTopic(JOB_ID), Mailbox(CAPACITY))
    watchers.add(late)
    watchers.tell(encode(job_queued(2)))
    await after_the_round()
    assert seqs((await arrived(late)).events) == [2]


async def test_leaving_during_a_round_does_not_end_it() -> None:
    watchers, everyone = crowd(MANY)
    watchers.tell(encode(job_queued(1)))
    for watcher in everyone[: PER_TURN + 1]:
        watchers.discard(watcher)
    await after_the_round()
    assert all([await has_mail(watcher) for watcher in watchers])
