"""Carries one session between a client and the renderer, in any protocol: sound in, frames out.

The sound waits in a queue, because a client that interrupts must be understood while the renderer takes no more sound.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from phoenix.clock import in_seconds
from phoenix.frames.front.client_messages import (
    ClientMessage,
    Control,
    SessionDraining,
    SessionNews,
    SoundChunk,
    SoundCleared,
)
from phoenix.frames.front.faults import Fault, FrameError
from phoenix.frames.interface import FrameOut
from phoenix.frames.service import FrameSession
from phoenix.settings import FramesSettings

_LONGEST_CHECK_S = 5.0


class ClientLeft(Exception):
    """The client has closed its connection: there is nobody to send anything to."""


class SessionClient(Protocol):
    """The client of one session. What is sent waits until the connection takes it."""

    def incoming(self) -> AsyncIterator[ClientMessage]:
        """What the client sends after it has opened its session. The end of it is the end of the sound.

        Raises `FrameError` for a message that cannot be read, and `ClientLeft`.
        """
        ...

    async def send_frame(self, frame: FrameOut, sequence: int) -> None:
        """Sends a frame."""
        ...

    async def send(self, news: SessionNews) -> None:
        """Sends anything else. May run while a frame is sent."""
        ...


@dataclass(frozen=True)
class RelayLimits:
    """What a client of a session may cost."""

    idle_timeout_s: float
    read_timeout_s: float
    queued_audio_bytes: int

    @classmethod
    def from_settings(cls, settings: FramesSettings) -> "RelayLimits":
        return cls(settings.idle_timeout_s, settings.read_timeout_s, settings.queued_audio_bytes)


class SoundQueue:
    """Sound that the renderer has not taken yet, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._chunks: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self.is_ended = False

    async def put(self, pcm: bytes) -> None:
        """Waits while the queue is full. A chunk that is larger than the queue waits until the queue is empty."""
        while self._chunks and self._bytes + len(pcm) > self._max_bytes:
            await self._wait()
        self._chunks.append(pcm)
        self._bytes += len(pcm)
        self._changed.set()

    async def get(self) -> bytes | None:
        """The oldest chunk; None after the last one."""
        while not self._chunks:
            if self.is_ended:
                return None
            await self._wait()
        pcm = self._chunks.popleft()
        self._bytes -= len(pcm)
        self._changed.set()
        return pcm

    def end(self) -> None:
        """No more is put."""
        self.is_ended = True
        self._changed.set()

    def drop(self) -> None:
        """Forgets what waits."""
        self._chunks.clear()
        self._bytes = 0
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class SessionRelay:
    """One open session. `run` it once; the other methods may be called while it runs."""

    def __init__(self, session: FrameSession, client: SessionClient, limits: RelayLimits) -> None:
        self._session = session
        self._client = client
        self._limits = limits
        self._clock_s = asyncio.get_running_loop().time
        self._sound = SoundQueue(limits.queued_audio_bytes)
        self._next_sequence = 0
        self._active_at_s = self._clock_s()
        self._sending_since_s: float | None = None
        self._is_asked = asyncio.Event()
        self._failure: FrameError | None = None
        self._tasks: asyncio.TaskGroup
        self._reading: asyncio.Task[None]
        self._pushing: asyncio.Task[None]
        self.sent_frames = 0
        self.is_finishing = False

    async def run(self) -> None:
        """Returns after the last frame. Raises `FrameError`, `ClientLeft` and the errors of the renderer."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._pushing = self._tasks.create_task(self._push())
                self._reading = self._tasks.create_task(self._read())
                self._tasks.create_task(self._watch())
                self._tasks.create_task(self._send())
        except BaseExceptionGroup as failed:
            if not any(isinstance(each, _EveryFrameSent) for each in failed.exceptions):
                raise failed.exceptions[0] from None

    async def warn(self, ends_in_s: float) -> None:
        """Lets the client know that the server stops."""
        await self._client.send(SessionDraining(ends_in_s=ends_in_s))

    def finish(self) -> None:
        """Reads no more sound. The session ends after the frames of what was read."""
        self.is_finishing = True
        self._is_asked.set()

    def fail(self, error: FrameError) -> None:
        """Ends the session at once."""
        self._failure = error
        self._is_asked.set()

    async def _read(self) -> None:
        async for message in self._client.incoming():
            self._active_at_s = self._clock_s()
            match message:
                case SoundChunk():
                    self._check_order(message.sequence)
                    await self._sound.put(message.pcm)
                case Control.CLEAR:
                    await self._clear()
                case Control.END:
                    self._sound.end()
        self._sound.end()

    def _check_order(self, sequence: int) -> None:
        if self._sound.is_ended:
            raise FrameError(Fault.OUT_OF_ORDER, "Sound came after the end of the sound. Open a new session for it.")
        if sequence != self._next_sequence:
            detail = f"Sound with the sequence number {sequence} came where {self._next_sequence} was expected."
            raise FrameError(Fault.OUT_OF_ORDER, detail)
        self._next_sequence += 1

    async def _clear(self) -> None:
        self._sound.drop()
        # What it is about to give to the renderer is from before the interruption too.
        self._pushing.cancel()
        await asyncio.wait({self._pushing})
        next_index = await self._session.clear()
        self._pushing = self._tasks.create_task(self._push())
        await self._client.send(SoundCleared(next_index=next_index))

    async def _push(self) -> None:
        while (pcm := await self._sound.get()) is not None:
            await self._session.push_audio(pcm)
        # Also after an interruption, because the sound begins again with it.
        await self._session.end_audio()

    async def _send(self) -> None:
        async for frame in self._session.frames():
            self._sending_since_s = self._clock_s()
            await self._client.send_frame(frame, self.sent_frames)
            self._sending_since_s = None
            self._active_at_s = self._clock_s()
            self.sent_frames += 1
        raise _EveryFrameSent

    async def _watch(self) -> None:
        """Looks at the clock now and then, because a timer for each frame would cost more than its header."""
        while True:
            try:
                async with asyncio.timeout(self._check_time()):
                    await self._is_asked.wait()
            except TimeoutError:
                continue
            self._is_asked.clear()
            if self._failure is not None:
                raise self._failure
            self._reading.cancel()
            self._sound.end()

    def _check_time(self) -> float:
        """Seconds until the next look. Raises `FrameError` for a client that does nothing."""
        now_s = self._clock_s()
        if (sending_since_s := self._sending_since_s) is not None:
            left_s = sending_since_s + self._limits.read_timeout_s - now_s
            if left_s <= 0:
                waited = in_seconds(self._limits.read_timeout_s)
                raise FrameError(Fault.CLIENT_DOES_NOT_READ, f"The client has read nothing for {waited}.")
        else:
            left_s = self._active_at_s + self._limits.idle_timeout_s - now_s
            if left_s <= 0:
                waited = in_seconds(self._limits.idle_timeout_s)
                raise FrameError(Fault.IDLE, f"Nothing was received and nothing was sent for {waited}.")
        return min(left_s, self._limits.read_timeout_s / 4, _LONGEST_CHECK_S)


class _EveryFrameSent(Exception):
    """Ends the other tasks of a session."""
