"""Whose clip is next in a simulated queue: the order that `phoenix.jobs.order` gives to reels of equal priority."""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from heapq import heappop, heappush
from typing import Protocol


class Turns(StrEnum):
    """Whose reels they are, on which their order depends."""

    ONE_KEY = "one"
    """All of one API key: first come, first served."""
    MANY_KEYS = "many"
    """Each of another one: the key that has had the least service is next."""

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
    """The reel with the fewest seconds on slots is next. Those of a clip that runs count as far as it has come.

    So the clips of a reel that has just begun go before those of one that began earlier, whose service is longer.
    """

    def __init__(self) -> None:
        self._clips_left: dict[int, int] = {}
        # Seconds of service are `running * now + offset`, which costs the same however many clips a reel has.
        self._running: dict[int, int] = {}
        self._offset_s: dict[int, float] = {}
        # Reels without a running clip keep their order; those that have one are looked at each time.
        self._resting: list[tuple[float, int]] = []
        self._served_now: set[int] = set()

    def __len__(self) -> int:
        return len(self._clips_left)

    def join(self, reel: int, clips: int) -> None:
        self._clips_left[reel] = clips
        self._running[reel], self._offset_s[reel] = 0, 0.0
        heappush(self._resting, (0.0, reel))

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
            heappush(self._resting, (self._offset_s[reel], reel))

    def _pick(self, now_s: float) -> int:
        served = ((self._running[reel] * now_s + self._offset_s[reel], reel) for reel in self._served_now)
        first = min(served, default=None)
        if first is None or (self._resting and self._resting[0] < first):
            reel = heappop(self._resting)[1]
            self._served_now.add(reel)
            return reel
        return first[1]


LINES: dict[Turns, Callable[[], Line]] = {Turns.ONE_KEY: InOrder, Turns.MANY_KEYS: ByService}
