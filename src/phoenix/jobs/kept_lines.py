"""Caches the queues as one process read them last, so that a submit costs the same however long the queue is."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from phoenix.jobs.queue_line import QueueLine

_KEPT_FROM_TURNS = 50
"""A shorter line is cheap to read, and every job visibly moves it: it is never cached."""
_REST = 20
_LONGEST_S = 2.0
"""A line is cached for `_REST` times as long as reading it took, but at most `_LONGEST_S`."""

ReadLine = Callable[[], Awaitable[QueueLine]]


@dataclass(frozen=True)
class _Kept:
    line: QueueLine
    began_s: float
    good_until_s: float

    def answers(self, *, asked_s: float, now_s: float) -> bool:
        """Whether it has not expired, or was read while the caller waited, and so is as fresh as a new one."""
        return self.began_s >= asked_s or now_s < self.good_until_s


class KeptLines:
    """One per process and event loop. Never reads a queue twice at the same time: callers share the result."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get_line(self, queue: str, read: ReadLine) -> QueueLine:
        """The cached line, or the one that `read` returns. Raises what `read` raises; the next caller then tries."""
        asked_s = time.monotonic()
        async with self._reading[queue]:
            kept = self._kept.get(queue)
            if kept is None or not kept.answers(asked_s=asked_s, now_s=time.monotonic()):
                kept = self._kept[queue] = await _read(read)
            return kept.line


async def _read(read: ReadLine) -> _Kept:
    began_s = time.monotonic()
    line = await read()
    ended_s = time.monotonic()
    good_for_s = min(_REST * (ended_s - began_s), _LONGEST_S) if len(line) >= _KEPT_FROM_TURNS else 0.0
    return _Kept(line, began_s, ended_s + good_for_s)
