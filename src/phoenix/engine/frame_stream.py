"""The frames of one clip on their way from the thread that makes them to the thread that encodes them."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

Frame = bytes | memoryview
"""One picture: rgb24, rows from the top, `height * width * 3` bytes."""


class FrameStream(Iterator[Frame]):
    """Holds the frames that are made and not read yet, in host memory. Thread-safe, for one maker and one reader.

    The maker never waits for the reader: a slow encoder would hold the device. At worst the whole clip is held, with
    three bytes per pixel.
    """

    def __init__(self) -> None:
        self.peak_memory_bytes: int | None = None
        """The most device memory while the frames were made. Set before their end; None on a CPU."""
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._read = 0
        self._to_skip = 0
        self._is_over = False
        self._error: BaseException | None = None
        self._when_over: list[Callable[[], object]] = []

    def restart(self) -> None:
        """The clip is made again from its first frame. Frames that were read already will be left out."""
        with self._changed:
            self._frames.clear()
            self._to_skip = self._read

    def add(self, frames: Iterable[Frame]) -> None:
        """Adds the next frames."""
        with self._changed:
            for frame in frames:
                if self._to_skip:
                    self._to_skip -= 1
                else:
                    self._frames.append(frame)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more frames come. The reader gets those that are left, or else `error`. Only the first end counts."""
        with self._changed:
            if self._is_over:
                return
            self._is_over, self._error = True, error
            if error is not None:
                self._frames.clear()
            callbacks, self._when_over = self._when_over, []
            self._changed.notify_all()
        for callback in callbacks:
            callback()

    def when_over(self, callback: Callable[[], object]) -> None:
        """Calls `callback` once all frames are made, or the clip has failed; at once if that is so already."""
        with self._changed:
            if not self._is_over:
                self._when_over.append(callback)
                return
        callback()

    def __next__(self) -> Frame:
        """Waits for the next frame. Raises the error of the clip."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._is_over)
            if self._error is not None:
                raise self._error
            if not self._frames:
                raise StopIteration
            self._read += 1
            return self._frames.popleft()
