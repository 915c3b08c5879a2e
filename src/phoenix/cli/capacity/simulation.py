"""Simulates reels that wait for the slots of a fleet, in the order of `phoenix.jobs.scheduling.fair_queue`.

Pure: equal arguments give equal results. All reels have the same priority.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import heappop, heappush
from itertools import accumulate
from typing import Protocol

from phoenix.jobs.scheduling.fair_queue import USAGE_DECAY_RATE


class KeyCount(StrEnum):
    """Whether the reels belong to one API key or to many keys. Their order depends on it."""

    ONE_KEY = "one"
    """All reels belong to one API key: first come, first served."""
    MANY_KEYS = "many"
    """Each reel belongs to another key: the key with the least usage is next. Usage decays while a key has no slot."""

    @property
    def other(self) -> "KeyCount":
        return KeyCount.MANY_KEYS if self is KeyCount.ONE_KEY else KeyCount.ONE_KEY


class SimulatedQueue(Protocol):
    """Reels with clips that have not started. Reels are numbered in the order of their arrival."""

    def __len__(self) -> int: ...

    def add(self, reel: int, clips: int) -> None: ...

    def begin(self, now_s: float) -> int:
        """Starts a clip of the next reel, and returns the number of the reel."""
        ...

    def end(self, reel: int, ended_s: float) -> None:
        """Records that a clip of the reel has left its slot."""
        ...


class FifoQueue:
    """First come, first served."""

    def __init__(self) -> None:
        self._reels: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._reels)

    def add(self, reel: int, clips: int) -> None:
        self._reels.extend([reel] * clips)

    def begin(self, now_s: float) -> int:  # noqa: ARG002 - only the order of arrival counts
        return self._reels.popleft()

    def end(self, reel: int, ended_s: float) -> None:
        pass


class FairQueue:
    """The reel with the least usage is next. Among equal reels, the first to arrive is next.

    Usage is seconds on slots. A running clip counts its seconds so far. While a reel has no running clip, its usage
    decays as in `phoenix.jobs.scheduling.fair_queue.decayed_usage_s`. All of it counts again when its next clip starts.
    """

    def __init__(self) -> None:
        self._clips_left: dict[int, int] = {}
        # Usage in seconds is `running * now + offset`, whose cost does not depend on the number of clips.
        self._running: dict[int, int] = {}
        self._offset_s: dict[int, float] = {}
        # At most one reel per slot: `_pick` reads all of them each time.
        self._in_service: set[int] = set()
        # All idle reels decay at the same rate, so their order stays the same until their usage is 0.
        self._decaying: list[tuple[float, int]] = []
        # Reels whose usage is 0, like new reels.
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
        """Takes the next reel, which has a running clip from now on."""
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


SEED = 20
WARM_UP_SHARE = 0.1
"""The share of reels to ignore at the start. They find an empty fleet, and would make it look too fast."""

_CLIPS = 40_000
_FEWEST_REELS = 300
_CLIPS_PER_BUSY_SLOT = 40

_ALIKE_BELOW = 0.001
"""A smaller spread counts as 0, because its gamma distribution would overflow."""


@dataclass(frozen=True)
class Workload:
    """The reels that a fleet has to render."""

    reels_per_hour: float
    """Reels arrive one at a time and independently of each other (a Poisson process)."""
    clips: int
    """Clips of each reel. All of them wait from the arrival of the reel, and several slots may render one reel."""
    clip_s: float
    """Mean seconds that a clip occupies its slot."""
    spread: float = 0.25
    """Standard deviation of `clip_s` as a share of its mean: 0 for equal clips, 1 for an exponential distribution."""
    finish_s: float = 0.0
    """Seconds from the end of a clip on its slot to its stored file."""
    assembly_s: float = 0.0
    """Seconds from the file of the last clip to the file of the reel."""

    @property
    def busy_slots(self) -> float:
        """How many slots are busy on average in a fleet with enough slots."""
        return self.reels_per_hour / 3600 * self.clips * self.clip_s

    @property
    def after_s(self) -> float:
        """Seconds from the end of the last clip on its slot to the file of the reel, in every fleet."""
        return self.finish_s + self.assembly_s


@dataclass(frozen=True)
class SimulatedReels:
    """Random reels: when each reel arrives, and how long each of its clips occupies a slot. In seconds."""

    arrivals_s: Sequence[float]
    clips_s: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Waits:
    """Seconds from the submission of each reel. Each list is sorted by itself."""

    first_begun_s: Sequence[float]
    """Until the first clip of the reel has a slot."""
    last_begun_s: Sequence[float]
    """Until the last clip of the reel has a slot."""
    rendered_s: Sequence[float]
    """Until the last clip of the reel leaves its slot."""


def draw_reels(load: Workload, seed: int = SEED) -> SimulatedReels:
    """Random reels of a load, as many as can be simulated in a tenth of a second: 8,000 reels of five clips."""
    rng = random.Random(seed)
    clips = max(_CLIPS, math.ceil(_CLIPS_PER_BUSY_SLOT * load.busy_slots))
    count = max(clips // load.clips, _FEWEST_REELS)
    per_s = load.reels_per_hour / 3600
    arrivals_s = list(accumulate(rng.expovariate(per_s) for _ in range(count)))
    return SimulatedReels(
        arrivals_s, [list(draw_clips(rng, load.clip_s, load.spread, load.clips)) for _ in range(count)]
    )


def one_at_a_time(reels: SimulatedReels, most: int = 400) -> SimulatedReels:
    """At most `most` of the reels. Each arrives when a single slot would be done with the reel before it."""
    clips_s = reels.clips_s[:most]
    ends_s = accumulate((sum(clips) for clips in clips_s[:-1]), initial=0.0)
    return SimulatedReels(list(ends_s), clips_s)


def simulate(reels: SimulatedReels, slots: int, keys: KeyCount, *, warm_up: float = WARM_UP_SHARE) -> Waits:
    """The waits of `reels` on `slots` slots, without the waits of the share `warm_up` of the reels, the first ones."""
    count = len(reels.arrivals_s)
    first_s, last_s, end_s = [math.inf] * count, [0.0] * count, [0.0] * count
    for reel, begun_s, ended_s in _render(reels, slots, QUEUES[keys]()):
        first_s[reel] = min(first_s[reel], begun_s)
        last_s[reel] = begun_s
        end_s[reel] = max(end_s[reel], ended_s)
    counted = range(_first_counted(reels, warm_up), count)
    return Waits(
        first_begun_s=sorted(first_s[reel] - reels.arrivals_s[reel] for reel in counted),
        last_begun_s=sorted(last_s[reel] - reels.arrivals_s[reel] for reel in counted),
        rendered_s=sorted(end_s[reel] - reels.arrivals_s[reel] for reel in counted),
    )


def times_without_waits(reels: SimulatedReels) -> Sequence[float]:
    """`Waits.rendered_s` of a fleet with a slot for every clip."""
    return sorted(max(clips) for clips in reels.clips_s[_first_counted(reels) :])


def _first_counted(reels: SimulatedReels, warm_up: float = WARM_UP_SHARE) -> int:
    return int(len(reels.arrivals_s) * warm_up)


def draw_clips(rng: random.Random, clip_s: float, spread: float, count: int) -> Iterator[float]:
    """Random seconds of `count` clips. `spread`: their standard deviation as a share of their mean, `clip_s`."""
    if spread < _ALIKE_BELOW:
        yield from [clip_s] * count
        return
    shape = spread**-2
    for _ in range(count):
        yield rng.gammavariate(shape, clip_s / shape)


def _render(reels: SimulatedReels, slots: int, queue: SimulatedQueue) -> Iterator[tuple[int, float, float]]:
    """Yields each clip when it gets its slot: the number of its reel, and its start and end in seconds."""
    running: list[tuple[float, int]] = []
    clips_s = [iter(clips) for clips in reels.clips_s]
    come, now_s, count = 0, 0.0, len(reels.arrivals_s)
    while queue or come < count:
        if not queue:
            now_s = max(now_s, reels.arrivals_s[come])
        if len(running) == slots:
            now_s = max(now_s, running[0][0])
        while running and running[0][0] <= now_s:
            ended_s, reel = heappop(running)
            queue.end(reel, ended_s)
        while come < count and reels.arrivals_s[come] <= now_s:
            queue.add(come, len(reels.clips_s[come]))
            come += 1
        reel = queue.begin(now_s)
        end_s = now_s + next(clips_s[reel])
        heappush(running, (end_s, reel))
        yield reel, now_s, end_s
