"""One conversation: sound in, frames with their sound out, in order and in step."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.errors import FieldError, InvalidRequest, Unavailable
from phoenix.frames.frame_queue import FrameQueue, PendingFrame
from phoenix.frames.interface import SAMPLE_BYTES, FrameOut, FrameRequest, ImageFormat, VideoInfo
from phoenix.frames.live_sound import HeardMoment, LiveSound

RATES_HZ = range(8_000, 192_001)


def check_sound(pcm: bytes) -> None:
    """Raises `InvalidRequest` for half a sample."""
    if len(pcm) % SAMPLE_BYTES:
        detail = "a part of the sound ends within a sample; send samples of 16 bits, one channel"
        raise InvalidRequest.from_field_errors([FieldError("/audio", detail)])


def check_rate(rate_hz: int) -> None:
    """Raises `InvalidRequest` for a rate that is none of sound."""
    if rate_hz not in RATES_HZ:
        detail = f"{rate_hz} Hz is no rate of this service; choose {RATES_HZ.start} to {RATES_HZ.stop - 1}"
        raise InvalidRequest.from_field_errors([FieldError("/sample_rate", detail)])


def make_request(video: VideoInfo, index: int, moment: HeardMoment, image_format: ImageFormat) -> FrameRequest:
    """The request for a frame of the video, which begins again after its last frame."""
    place = index % video.frame_count
    return FrameRequest(video.video_id, video.model, place, moment.samples, moment.at, moment.peak_rms, image_format)


@dataclass(frozen=True)
class SessionOptions:
    """`ahead`: the frames that are rendered, or under way, before the first of them is read."""

    sample_rate: int
    format: ImageFormat
    max_buffered_s: float
    ahead: int


@dataclass(frozen=True)
class _Ordered:
    index: int
    pending: PendingFrame
    audio: bytes


class FrameSession:
    """Made by `FrameService.open_session`. All calls are made on one event loop; one task reads the frames."""

    def __init__(
        self,
        video: VideoInfo,
        spec: LipModelSpec,
        queue: FrameQueue,
        options: SessionOptions,
        on_closed: "Callable[[FrameSession], None]",
    ) -> None:
        self._video, self._spec, self._queue, self._options = video, spec, queue, options
        self._on_closed = on_closed
        self._sound = self._new_sound()
        # A pause is waited out with enough sound for one frame, or it would never end.
        self._most_buffered_s = max(options.max_buffered_s, self._sound.longest_wait_s + 1 / video.fps)
        self._first = self._next = 0
        self._ordered: deque[_Ordered] = deque()
        self._changed = asyncio.Event()
        self._clears = 0
        self._accepts_sound, self._is_closed = True, False
        self.ended = asyncio.Event()

    @property
    def video(self) -> VideoInfo:
        return self._video

    @property
    def buffered_s(self) -> float:
        """The sound whose frames no engine was asked for."""
        return self._sound.duration_s - (self._next - self._first) / self._video.fps

    async def push_audio(self, pcm: bytes) -> None:
        """Waits while more than `max_buffered_s` of sound is not rendered. Sound that waits is dropped by `clear`.

        Raises `InvalidRequest` for half a sample, and `Unavailable` after the end of the sound.
        """
        check_sound(pcm)
        rest, clears = memoryview(pcm), self._clears
        while True:
            if not self._accepts_sound:
                raise Unavailable("this session takes no more sound: its sound has ended, or the service drains")
            space = round((self._most_buffered_s - self.buffered_s) * self._options.sample_rate) * SAMPLE_BYTES
            if space > 0:
                part, rest = rest[:space], rest[space:]
                self._sound.append(bytes(part))
                self._advance()
            if not rest:
                return
            if space <= 0:
                await self._wait_for_change()
            if clears != self._clears:
                return

    async def clear(self) -> int:
        """Drops the sound whose frames no engine has begun. Returns the index of the next frame; its sound is next."""
        while self._ordered and self._queue.withdraw(self._ordered[-1].pending):
            self._ordered.pop()
            self._next -= 1
        self._sound = self._new_sound()
        if not self._accepts_sound:
            self._sound.end()
        self._first = self._next
        self._clears += 1
        self._notify()
        return self._next

    async def end_audio(self) -> None:
        """What is left is rendered, then `frames` ends."""
        self._accepts_sound = False
        self._sound.end()
        self._advance()
        self._notify()

    async def frames(self) -> AsyncIterator[FrameOut]:
        """Yields the frames in order. While nobody reads, few frames of this session are rendered, and others' all the
        same. Raises `TaskFailed` if the model fails, and `Unavailable` if no engine can render a frame.
        """
        while not self._is_closed:
            if not self._ordered:
                if self._is_over:
                    break
                await self._wait_for_change()
                continue
            first = self._ordered[0]
            # Shielded: the reader may be cancelled and come again.
            waits = not first.pending.image.done()
            image = await asyncio.shield(first.pending.image) if waits else first.pending.image.result()
            if image is None or self._is_closed:
                continue
            self._ordered.popleft()
            self._advance()
            self._notify()
            yield FrameOut(first.index, first.index / self._video.fps, image, first.audio)
        if not self._is_closed:
            await self.close()

    async def close(self) -> None:
        """Ends the session at once. Frames that nobody has read are dropped."""
        if self._is_closed:
            return
        self._is_closed, self._accepts_sound = True, False
        while self._ordered:
            self._queue.drop(self._ordered.pop().pending)
        self._notify()
        self._on_closed(self)
        self.ended.set()

    @property
    def _is_over(self) -> bool:
        total = self._sound.num_frames
        return total is not None and self._next - self._first >= total

    def _new_sound(self) -> LiveSound:
        return LiveSound(self._spec, rate_hz=self._options.sample_rate, fps=self._video.fps)

    def _advance(self) -> None:
        """Asks for the frames whose sound has come, as far as frames may be rendered before they are read."""
        while not self._is_closed and len(self._ordered) < self._options.ahead:
            place = self._next - self._first
            moment = self._sound.find_moment(place)
            if moment is None:
                return
            request = make_request(self._video, self._next, moment, self._options.format)
            self._ordered.append(_Ordered(self._next, self._queue.submit(request), self._sound.take(place)))
            self._next += 1
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()
