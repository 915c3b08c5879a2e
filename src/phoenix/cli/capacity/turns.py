"""The order of clips in a simulated queue: `phoenix.jobs.scheduling.fair_queue` for reels of equal priority."""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from heapq import heappop, heappush
from typing import Protocol

from phoenix.jobs.scheduling.fair_queue import USAGE_DECAY_RATE


class KeyCount(StrEnum):
    """Whose reels they are, on which their order depends."""

    ONE_KEY = "one"
    """All of one API key: first come, first served."""
    MANY_KEYS = "many"
    """Each of another one: the key with the least service is next, and forgets it while it has none."""

    @property
    def other(self) -> "KeyCount":
        return KeyCount.MANY_KEYS if self is KeyCount.ONE_KEY else KeyCount.ONE_KEY


class SimulatedQueue(Protocol):
    """Reels that have clips left to begin. Reels are numbered as they come."""

    def __len__(self) -> int: ...

    def add(self, reel: int, clips: int) -> None: ...

    def begin(self, now_s: float) -> int:
        """Begins a clip of the reel whose turn it is, and returns that."""
        ...

    def end(self, reel: int, ended_s: float) -> None:
        """One of its clips has left its slot."""
        ...


class FifoQueue:
    """First come, first served."""

    def __init__(self) -> None:
        self._reels: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._reels)

    def add(self, reel: int, clips: int) -> None:
        self._reels.extend([reel] * clips)

    def begin(self, now_s: float) -> int:  # noqa: ARG002 - it depends on the order alone
        return self._reels.popleft()

    def end(self, reel: int, ended_s: float) -> None:
        pass


class FairQueue:
    """The reel with the fewest seconds on slots is next, of equals the one that came first.

    A clip that runs counts as far as it has come. While none runs, a reel's seconds are forgotten as
    `phoenix.jobs.scheduling.fair_queue.decayed_usage_s` says, and all of them count again when its next clip begins.
    """

    def __init__(self) -> None:
        self._clips_left: dict[int, int] = {}
        # Seconds of service are `running * now + offset`, which costs the same however many clips a reel has.
        self._running: dict[int, int] = {}
        self._offset_s: dict[int, float] = {}
        # At most one per slot: these are looked at each time.
        self._in_service: set[int] = set()
        # As resting reels forget at the same rate, those that are not done with it keep their order.
        self._decaying: list[tuple[float, int]] = []
        # Those that are: level with the ones that have just come.
        self._fully_decayed: list[int] = []

    def __len__(self) -> int:
        return len(self._clips_left)

    def add(self, reel: int, clips: int) -> None:
        self._clips_left[reel] = clips
        self._running[reel], self._offset_s[reel] = 0, 0.0
        heappush(self._fully_decayed, reel)

    def begin(self, now_s: float) -> int:
        reel = self._pick(now_s)
        self._running[reel] += 1
        self._offset_s[reel] -= now_s
        self._clips_left[reel] -= 1
        if self._clips_left[reel] == 0:
            del self._clips_left[reel]
            self._in_service.remove(reel)
        return reel

    def end(self, reel: int, ended_s: float) -> None:
        self._running[reel] -= 1
        self._offset_s[reel] += ended_s
        if reel in self._in_service and not self._running[reel]:
            self._in_service.remove(reel)
            heappush(self._decaying, (self._offset_s[reel] + USAGE_DECAY_RATE * ended_s, reel))

    def _pick(self, now_s: float) -> int:
        """The reel that is next, from now on among those that are served."""
        decayed_s = USAGE_DECAY_RATE * now_s
        while self._decaying and self._decaying[0][0] <= decayed_s:
            heappush(self._fully_decayed, heappop(self._decaying)[1])
        candidates = [(self._running[reel] * now_s + self._offset_s[reel], reel) for reel in self._in_service]
        candidates += [(key_s - decayed_s, reel) for key_s, reel in self._decaying[:1]]
        candidates += [(0.0, reel) for reel in self._fully_decayed[:1]]
        _, reel = min(candidates)
        if self._fully_decayed[:1] == [reel]:
            heappop(self._fully_decayed)
        elif reel not in self._in_service:
            heappop(self._decaying)
        self._in_service.add(reel)
        return reel


QUEUES: dict[KeyCount, Callable[[], SimulatedQueue]] = {KeyCount.ONE_KEY: FifoQueue, KeyCount.MANY_KEYS: FairQueue}
