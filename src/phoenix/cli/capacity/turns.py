"""The order of clips in a simulated queue: `phoenix.jobs.scheduling.fair_queue` for reels of equal priority."""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from heapq import heappop, heappush
from typing import Protocol

from phoenix.jobs.scheduling.fair_queue import FORGETTING_RATE


class Turns(StrEnum):
    """Whose reels they are, on which their order depends."""

    ONE_KEY = "one"
    """All of one API key: first come, first served."""
    MANY_KEYS = "many"
    """Each of another one: the key with the least service is next, and forgets it while it has none."""

    @property
    def other(self) -> "Turns":
        return Turns.MANY_KEYS if self is Turns.ONE_KEY else Turns.ONE_KEY


class Line(Protocol):
    """Reels that have clips left to begin. Reels are numbered as they come."""

    def __len__(self) -> int: ...

    def join(self, reel: int, clips: int) -> None: ...

    def begin(self, now_s: float) -> int:
        """Begins a clip of the reel whose turn it is, and returns that."""
        ...

    def end(self, reel: int, ended_s: float) -> None:
        """One of its clips has left its slot."""
        ...


class InOrder:
    """First come, first served."""

    def __init__(self) -> None:
        self._reels: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._reels)

    def join(self, reel: int, clips: int) -> None:
        self._reels.extend([reel] * clips)

    def begin(self, now_s: float) -> int:  # noqa: ARG002 - it depends on the order alone
        return self._reels.popleft()

    def end(self, reel: int, ended_s: float) -> None:
        pass


class ByService:
    """The reel with the fewest seconds on slots is next, of equals the one that came first.

    A clip that runs counts as far as it has come. While none runs, a reel's seconds are forgotten as
    `phoenix.jobs.scheduling.fair_queue.remembered_s` says, and all of them count again when its next clip begins.
    """

    def __init__(self) -> None:
        self._clips_left: dict[int, int] = {}
        # Seconds of service are `running * now + offset`, which costs the same however many clips a reel has.
        self._running: dict[int, int] = {}
        self._offset_s: dict[int, float] = {}
        # At most one per slot: these are looked at each time.
        self._served_now: set[int] = set()
        # As resting reels forget at the same rate, those that are not done with it keep their order.
        self._forgetting: list[tuple[float, int]] = []
        # Those that are: level with the ones that have just come.
        self._level: list[int] = []

    def __len__(self) -> int:
        return len(self._clips_left)

    def join(self, reel: int, clips: int) -> None:
        self._clips_left[reel] = clips
        self._running[reel], self._offset_s[reel] = 0, 0.0
        heappush(self._level, reel)

    def begin(self, now_s: float) -> int:
        reel = self._pick(now_s)
        self._running[reel] += 1
        self._offset_s[reel] -= now_s
        self._clips_left[reel] -= 1
        if self._clips_left[reel] == 0:
            del self._clips_left[reel]
            self._served_now.remove(reel)
        return reel

    def end(self, reel: int, ended_s: float) -> None:
        self._running[reel] -= 1
        self._offset_s[reel] += ended_s
        if reel in self._served_now and not self._running[reel]:
            self._served_now.remove(reel)
            heappush(self._forgetting, (self._offset_s[reel] + FORGETTING_RATE * ended_s, reel))

    def _pick(self, now_s: float) -> int:
        """The reel that is next, from now on among those that are served."""
        forgotten_s = FORGETTING_RATE * now_s
        while self._forgetting and self._forgetting[0][0] <= forgotten_s:
            heappush(self._level, heappop(self._forgetting)[1])
        candidates = [(self._running[reel] * now_s + self._offset_s[reel], reel) for reel in self._served_now]
        candidates += [(key_s - forgotten_s, reel) for key_s, reel in self._forgetting[:1]]
        candidates += [(0.0, reel) for reel in self._level[:1]]
        _, reel = min(candidates)
        if self._level[:1] == [reel]:
            heappop(self._level)
        elif reel not in self._served_now:
            heappop(self._forgetting)
        self._served_now.add(reel)
        return reel


LINES: dict[Turns, Callable[[], Line]] = {Turns.ONE_KEY: InOrder, Turns.MANY_KEYS: ByService}
