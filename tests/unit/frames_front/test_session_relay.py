"""What a session does with its client: order, interruption, back-pressure, the limits of its patience, and its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fixtures.echo_frames import EchoFrames, EchoSession, image_of
from phoenix.frames.front.client_messages import (
    ClientMessage,
    Control,
    SessionDraining,
    SessionNews,
    SoundChunk,
    SoundCleared,
)
from phoenix.frames.front.faults import Fault, FrameError
from phoenix.frames.front.relay import ClientLeft, RelayLimits, SessionRelay, SoundQueue
from phoenix.frames.interface import FrameOut

PATIENT = RelayLimits(idle_timeout_s=600, read_timeout_s=600, queued_audio_bytes=100_000)
RATE_HZ = 1000
FRAME_BYTES = 80


class Client:
    """Says what the test gives it, and notes what it gets. It reads frames only while `reads` is set."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[ClientMessage | None] = asyncio.Queue()
        self.frames: list[tuple[int, FrameOut]] = []
        self.news: list[SessionNews] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.began = asyncio.Event()
        """A frame is sent, which waits until the client reads."""
        self.got = asyncio.Condition()
        self._sequence = 0

    def say(self, *pcm: bytes) -> None:
        for each in pcm:
            self.said.put_nowait(SoundChunk(self._sequence, each))
            self._sequence += 1

    def control(self, control: Control) -> None:
        self.said.put_nowait(control)

    def leave(self) -> None:
        self.said.put_nowait(None)

    async def incoming(self) -> AsyncIterator[ClientMessage]:
        while (message := await self.said.get()) is not None:
            yield message
        raise ClientLeft

    async def send_frame(self, frame: FrameOut, sequence: int) -> None:
        self.began.set()
        await self.reads.wait()
        async with self.got:
            self.frames.append((sequence, frame))
            self.got.notify_all()

    async def send(self, news: SessionNews) -> None:
        async with self.got:
            self.news.append(news)
            self.got.notify_all()

    async def until_frames(self, count: int) -> None:
        async with asyncio.timeout(100), self.got:
            await self.got.wait_for(lambda: len(self.frames) >= count)

    async def until_news(self, count: int) -> None:
        async with asyncio.timeout(100), self.got:
            await self.got.wait_for(lambda: len(self.news) >= count)


class Opened:
    """A relay that runs."""

    def __init__(self, limits: RelayLimits, max_buffered_s: float) -> None:
        self.service = EchoFrames()
        self.client = Client()
        self.session = EchoSession(RATE_HZ, max_buffered_s, self.service.gate, 64)
        self.relay = SessionRelay(self.session, self.client, limits)
        self.running = asyncio.create_task(self.relay.run())

    async def until_end(self) -> None:
        async with asyncio.timeout(100):
            await self.running

    async def until_fault(self) -> Fault:
        with pytest.raises(FrameError) as failed:
            await self.until_end()
        return failed.value.fault


@asynccontextmanager
async def opened(limits: RelayLimits = PATIENT, *, max_buffered_s: float = 10) -> AsyncIterator[Opened]:
    relay = Opened(limits, max_buffered_s)
    try:
        yield relay
    finally:
        relay.running.cancel()
        await asyncio.wait({relay.running})


def sound(number: int, frames: int = 1) -> bytes:
    return bytes([number]) * FRAME_BYTES * frames


async def test_each_frame_comes_with_its_sound_in_order() -> None:
    async with opened() as it:
        it.client.say(sound(1, 2), sound(2))
        it.client.control(Control.END)
        await it.until_end()

    assert [sequence for sequence, _ in it.client.frames] == [0, 1, 2]
    assert [frame.audio for _, frame in it.client.frames] == [sound(1), sound(1), sound(2)]
    assert [frame.image for _, frame in it.client.frames] == [image_of(index) for index in range(3)]


@pytest.mark.parametrize("sequence", [0, 2])
async def test_sound_that_was_sent_twice_or_left_out_is_out_of_order(sequence: int) -> None:
    async with opened() as it:
        it.client.say(sound(1))
        it.client.said.put_nowait(SoundChunk(sequence, sound(2)))

        assert await it.until_fault() is Fault.OUT_OF_ORDER


async def test_sound_after_the_end_is_out_of_order() -> None:
    async with opened() as it:
        it.service.gate.clear()
        it.client.say(sound(1))
        it.client.control(Control.END)
        it.client.say(sound(2))

        assert await it.until_fault() is Fault.OUT_OF_ORDER


async def test_an_interruption_drops_sound_that_waits_in_the_renderer_and_in_the_queue() -> None:
    async with opened(max_buffered_s=0.01) as it:
        it.service.gate.clear()
        it.client.say(*[sound(1)] * 5)
        it.client.control(Control.CLEAR)
        await it.client.until_news(1)
        it.client.say(sound(9))
        it.client.control(Control.END)
        it.service.gate.set()
        await it.until_end()

    assert it.client.news == [SoundCleared(next_index=0)]
    assert [frame.audio for _, frame in it.client.frames] == [sound(9)]


async def test_frames_after_an_interruption_have_the_index_that_was_said() -> None:
    async with opened() as it:
        it.client.say(sound(1, 3))
        await it.client.until_frames(3)
        it.client.control(Control.CLEAR)
        it.client.say(sound(2))
        it.client.control(Control.END)
        await it.until_end()

    assert it.client.news == [SoundCleared(next_index=3)]
    assert [frame.index for _, frame in it.client.frames] == [0, 1, 2, 3]


async def test_an_interruption_after_the_end_ends_the_session() -> None:
    async with opened() as it:
        it.service.gate.clear()
        it.client.say(sound(1, 3))
        it.client.control(Control.END)
        it.client.control(Control.CLEAR)
        await it.client.until_news(1)
        it.service.gate.set()
        await it.until_end()

    assert it.client.frames == []


async def test_a_client_that_does_not_read_is_ended_after_the_limit() -> None:
    async with opened(RelayLimits(600, 0.05, 100_000)) as it:
        it.client.reads.clear()
        it.client.say(sound(1, 2))

        assert await it.until_fault() is Fault.CLIENT_DOES_NOT_READ


async def test_a_client_that_does_not_read_has_nothing_more_rendered() -> None:
    async with opened(RelayLimits(600, 600, 100_000), max_buffered_s=0.1) as it:
        it.client.reads.clear()
        it.client.say(sound(1))
        async with asyncio.timeout(100):
            await it.client.began.wait()
        it.client.say(*[sound(1)] * 50)
        it.client.control(Control.CLEAR)
        await it.client.until_news(1)

    assert it.client.news == [SoundCleared(next_index=1)]


async def test_a_session_in_which_nothing_happens_is_ended_after_the_limit() -> None:
    async with opened(RelayLimits(0.05, 600, 100_000)) as it:
        assert await it.until_fault() is Fault.IDLE


async def test_a_client_that_leaves_ends_its_session() -> None:
    async with opened() as it:
        it.client.leave()
        with pytest.raises(ClientLeft):
            await it.until_end()


async def test_a_server_that_stops_renders_what_it_has_read() -> None:
    async with opened() as it:
        it.client.say(sound(1, 3))
        await it.client.until_frames(3)
        await it.relay.warn(0)
        it.relay.finish()
        await it.until_end()

    assert it.client.news == [SessionDraining(ends_in_s=0)]
    assert it.relay.sent_frames == 3
    assert it.relay.is_finishing


async def test_a_session_can_be_ended_from_outside() -> None:
    async with opened() as it:
        it.relay.fail(FrameError(Fault.KEY_ENDED, "The key has ended."))

        assert await it.until_fault() is Fault.KEY_ENDED


async def test_an_error_of_the_renderer_ends_the_session() -> None:
    class Broken(EchoSession):
        async def push_audio(self, pcm: bytes) -> None:
            raise FrameError(Fault.RENDER_FAILED, "The model is broken.")

    service = EchoFrames()
    client = Client()
    client.say(sound(1))

    with pytest.raises(FrameError, match="The model is broken"):
        async with asyncio.timeout(100):
            await SessionRelay(Broken(RATE_HZ, 1, service.gate, 64), client, PATIENT).run()


async def test_a_queue_takes_a_chunk_that_is_larger_than_itself_when_it_is_empty() -> None:
    queue = SoundQueue(4)
    await queue.put(b"123456")
    second = asyncio.create_task(queue.put(b"7"))
    await asyncio.sleep(0)

    assert not second.done()
    assert await queue.get() == b"123456"
    async with asyncio.timeout(100):
        await second
        assert await queue.get() == b"7"


async def test_a_queue_that_ends_gives_what_it_has_first() -> None:
    queue = SoundQueue(10)
    await queue.put(b"12")
    queue.end()

    assert [await queue.get(), await queue.get()] == [b"12", None]
