"""The fast path, which bypasses an empty buffer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fixtures.event_examples import clip_progress, clip_started, job_queued
from phoenix.events.fanout.client_buffer import ClientBuffer, EventBatch
from phoenix.events.messages import EncodedEvent, encode


class Taker:
    """A fast path that records the events that it takes, or takes none."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.sent: list[EncodedEvent] = []
        self.heartbeats = 0

    def send(self, encoded: EncodedEvent) -> bool:
        self.sent += [encoded] if self.takes else []
        return self.takes

    def send_heartbeat(self) -> bool:
        self.heartbeats += self.takes
        return self.takes


@asynccontextmanager
async def waiting(buffer: ClientBuffer, fast_path: Taker) -> AsyncIterator["asyncio.Task[EventBatch]"]:
    task = asyncio.create_task(buffer.wait(fast_path))
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


EVENTS: Sequence[EncodedEvent] = [encode(job_queued(1)), encode(clip_started(2)), encode(clip_progress(1, seq=2))]


async def test_events_bypass_an_empty_buffer_while_its_stream_waits() -> None:
    buffer, taker = ClientBuffer(8), Taker()
    async with waiting(buffer, taker) as task:
        for event in EVENTS:
            buffer.put(event)
        buffer.put_heartbeat()
        await asyncio.sleep(0)
        assert taker.sent == EVENTS
        assert taker.heartbeats == 1
        assert not task.done()


async def test_no_event_bypasses_a_buffer_while_no_stream_waits() -> None:
    buffer, taker = ClientBuffer(8), Taker()
    buffer.put(EVENTS[0])
    batch = await buffer.wait(taker)
    buffer.put(EVENTS[1])
    buffer.put_heartbeat()
    assert batch.events == [EVENTS[0]]
    assert (taker.sent, taker.heartbeats) == ([], 0)


async def test_no_event_overtakes_an_event_that_the_fast_path_refused() -> None:
    buffer, taker = ClientBuffer(8), Taker(takes=False)
    async with waiting(buffer, taker) as task:
        buffer.put(EVENTS[0])
        taker.takes = True
        buffer.put(EVENTS[1])
        buffer.put_heartbeat()
        batch = await task
    assert batch.events == EVENTS[:2]
    assert batch.is_heartbeat
    assert (taker.sent, taker.heartbeats) == ([], 0)


async def test_no_event_overtakes_events_that_must_be_read_from_the_log() -> None:
    buffer, taker = ClientBuffer(8), Taker()
    async with waiting(buffer, taker) as task:
        buffer.request_resync()
        buffer.put(EVENTS[2])
        batch = await task
    assert batch.needs_resync
    assert taker.sent == []


async def test_a_heartbeat_that_the_fast_path_refused_wakes_the_stream() -> None:
    buffer = ClientBuffer(8)
    async with waiting(buffer, Taker(takes=False)) as task:
        buffer.put_heartbeat()
        assert (await task).is_heartbeat


async def test_a_cancelled_stream_gets_no_event() -> None:
    buffer, taker = ClientBuffer(8), Taker()
    async with waiting(buffer, taker):
        pass
    buffer.put(EVENTS[0])
    assert taker.sent == []
