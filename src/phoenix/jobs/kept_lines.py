"""The lines that one process has read last: long ones serve many answers, so that a submit costs the same in any."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from phoenix.jobs.queue_line import QueueLine

_KEPT_FROM_TURNS = 50
"""A shorter line is cheap to read, and moves visibly with every job: it is never told from memory."""
_REST = 20
_LONGEST_S = 2.0
"""A line is kept for so many times what it took to read, and no longer than that."""

ReadLine = Callable[[], Awaitable[QueueLine]]


@dataclass(frozen=True)
class _Kept:
    line: QueueLine
    began_s: float
    good_until_s: float

    def answers(self, *, asked_s: float, now_s: float) -> bool:
        """One that was read while the caller waited is as fresh as what the caller would read."""
        return self.began_s >= asked_s or now_s < self.good_until_s


class KeptLines:
    """One per process and event loop. Reads each queue once at a time, for all who want to know."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get_line(self, queue: str, read: ReadLine) -> QueueLine:
        """Raises what `read` raises; whoever waited then tries anew."""
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
