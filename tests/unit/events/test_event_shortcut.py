"""The way past the mailbox, for a client that has nothing waiting."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fixtures.event_examples import clip_progress, clip_started, job_queued
from phoenix.events.fanout.client_buffer import Delivery, Mailbox
from phoenix.events.messages import EncodedEvent, encode


class Taker:
    """A shortcut that notes what it is given, and takes it or not."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.told: list[EncodedEvent] = []
        self.beats = 0

    def tell(self, encoded: EncodedEvent) -> bool:
        self.told += [encoded] if self.takes else []
        return self.takes

    def beat(self) -> bool:
        self.beats += self.takes
        return self.takes


@asynccontextmanager
async def waiting(mailbox: Mailbox, shortcut: Taker) -> AsyncIterator["asyncio.Task[Delivery]"]:
    task = asyncio.create_task(mailbox.wait(shortcut))
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


EVENTS: Sequence[EncodedEvent] = [encode(job_queued(1)), encode(clip_started(2)), encode(clip_progress(1, seq=2))]


async def test_events_go_past_an_empty_mailbox_that_is_waited_for() -> None:
    mailbox, taker = Mailbox(8), Taker()
    async with waiting(mailbox, taker) as task:
        for event in EVENTS:
            mailbox.put(event)
        mailbox.beat()
        await asyncio.sleep(0)
        assert taker.told == EVENTS
        assert taker.beats == 1
        assert not task.done()


async def test_nothing_goes_past_a_mailbox_that_nobody_waits_for() -> None:
    mailbox, taker = Mailbox(8), Taker()
    mailbox.put(EVENTS[0])
    delivery = await mailbox.wait(taker)
    mailbox.put(EVENTS[1])
    mailbox.beat()
    assert delivery.events == [EVENTS[0]]
    assert (taker.told, taker.beats) == ([], 0)


async def test_nothing_overtakes_an_event_that_the_shortcut_refused() -> None:
    mailbox, taker = Mailbox(8), Taker(takes=False)
    async with waiting(mailbox, taker) as task:
        mailbox.put(EVENTS[0])
        taker.takes = True
        mailbox.put(EVENTS[1])
        mailbox.beat()
        delivery = await task
    assert delivery.events == EVENTS[:2]
    assert delivery.is_heartbeat
    assert (taker.told, taker.beats) == ([], 0)


async def test_nothing_overtakes_events_that_have_to_be_read_from_the_log() -> None:
    mailbox, taker = Mailbox(8), Taker()
    async with waiting(mailbox, taker) as task:
        mailbox.ask_for_refill()
        mailbox.put(EVENTS[2])
        delivery = await task
    assert delivery.needs_refill
    assert taker.told == []


async def test_a_heartbeat_that_the_shortcut_refused_wakes_the_stream() -> None:
    mailbox = Mailbox(8)
    async with waiting(mailbox, Taker(takes=False)) as task:
        mailbox.beat()
        assert (await task).is_heartbeat


async def test_a_stream_that_has_gone_is_told_nothing() -> None:
    mailbox, taker = Mailbox(8), Taker()
    async with waiting(mailbox, taker):
        pass
    mailbox.put(EVENTS[0])
    assert taker.told == []
