"""A simulation of reels that wait for the slots of a fleet. Pure, and the same at every call. Decides nothing."""

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


SEED = 20
WARM_UP_SHARE = 0.1
"""The first reels come to an empty fleet, and would make it look quicker than it is."""

_CLIPS = 40_000
_FEWEST_REELS = 300
_CLIPS_PER_BUSY_SLOT = 40

_ALIKE_BELOW = 0.001
"""A spread too small to differ from 0, and whose gamma distribution would overflow."""


@dataclass(frozen=True)
class Workload:
    """What a fleet is asked for."""

    reels_per_hour: float
    """Reels come one at a time and independently of each other: a Poisson process."""
    clips: int
    """Of each reel, which all wait from its arrival on: several slots may render one reel."""
    clip_s: float
    """Mean seconds for which a clip has its slot."""
    spread: float = 0.25
    """The standard deviation of these seconds as a share of the mean: 0 if all are alike, 1 for exponential ones."""
    finish_s: float = 0.0
    """From the moment at which a clip leaves its slot until its file is stored."""
    assembly_s: float = 0.0
    """From the last clip's file to the reel's."""

    @property
    def busy_slots(self) -> float:
        """How many slots render at a time, on average, if there are enough."""
        return self.reels_per_hour / 3600 * self.clips * self.clip_s

    @property
    def after_s(self) -> float:
        """What follows the last clip's time in its slot, whatever the fleet."""
        return self.finish_s + self.assembly_s


@dataclass(frozen=True)
class SimulatedReels:
    """Drawn reels: when each comes, and for how long each of its clips will have a slot. All in seconds."""

    arrivals_s: Sequence[float]
    clips_s: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Waits:
    """Seconds from the submission of each reel, each list sorted by itself."""

    first_begun_s: Sequence[float]
    """Until the first of its clips has a slot."""
    last_begun_s: Sequence[float]
    """Until the last of them has one."""
    rendered_s: Sequence[float]
    """Until the last of them leaves its slot."""


def draw_reels(load: Workload, seed: int = SEED) -> SimulatedReels:
    """As many as a fleet can be tried on within a tenth of a second, which for reels of five clips are 8,000."""
    rng = random.Random(seed)
    clips = max(_CLIPS, math.ceil(_CLIPS_PER_BUSY_SLOT * load.busy_slots))
    count = max(clips // load.clips, _FEWEST_REELS)
    per_s = load.reels_per_hour / 3600
    arrivals_s = list(accumulate(rng.expovariate(per_s) for _ in range(count)))
    return SimulatedReels(arrivals_s, [list(_draw_clips(rng, load)) for _ in range(count)])


def one_at_a_time(reels: SimulatedReels, most: int = 400) -> SimulatedReels:
    """The first of `reels`, each of them submitted when even a single slot would be done with the one before."""
    clips_s = reels.clips_s[:most]
    ends_s = accumulate((sum(clips) for clips in clips_s[:-1]), initial=0.0)
    return SimulatedReels(list(ends_s), clips_s)


def simulate(reels: SimulatedReels, slots: int, keys: KeyCount) -> Waits:
    """Renders all of `reels` on `slots` slots; leaves out the waits of the first of them."""
    count = len(reels.arrivals_s)
    first_s, last_s, end_s = [math.inf] * count, [0.0] * count, [0.0] * count
    for reel, begun_s, ended_s in _render(reels, slots, QUEUES[keys]()):
        first_s[reel] = min(first_s[reel], begun_s)
        last_s[reel] = begun_s
        end_s[reel] = max(end_s[reel], ended_s)
    counted = range(_first_counted(reels), count)
    return Waits(
        first_begun_s=sorted(first_s[reel] - reels.arrivals_s[reel] for reel in counted),
        last_begun_s=sorted(last_s[reel] - reels.arrivals_s[reel] for reel in counted),
        rendered_s=sorted(end_s[reel] - reels.arrivals_s[reel] for reel in counted),
    )


def times_without_waits(reels: SimulatedReels) -> Sequence[float]:
    """`Waits.rendered_s` of a fleet that has a slot for every clip at once."""
    return sorted(max(clips) for clips in reels.clips_s[_first_counted(reels) :])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of `ordered` that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _first_counted(reels: SimulatedReels) -> int:
    return int(len(reels.arrivals_s) * WARM_UP_SHARE)


def _draw_clips(rng: random.Random, load: Workload) -> Iterator[float]:
    if load.spread < _ALIKE_BELOW:
        yield from [load.clip_s] * load.clips
        return
    shape = load.spread**-2
    for _ in range(load.clips):
        yield rng.gammavariate(shape, load.clip_s / shape)


def _render(reels: SimulatedReels, slots: int, queue: SimulatedQueue) -> Iterator[tuple[int, float, float]]:
    """Each clip as it gets its slot, with its reel, and when it begins and ends."""
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
