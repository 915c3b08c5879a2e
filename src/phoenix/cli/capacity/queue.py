"""A simulation of reels that wait for the slots of a fleet. Pure, and the same at every call. Decides nothing."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate

from phoenix.cli.capacity.turns import QUEUES, KeyCount, SimulatedQueue

SEED = 20
WARM_UP_SHARE = 0.1
"""The first reels come to an empty fleet, and would make it look quicker than it is."""

_CLIPS = 40_000
_FEWEST_REELS = 300
_CLIPS_PER_BUSY_SLOT = 40

_ALIKE_BELOW = 0.001
"""A spread too small to differ from 0, and whose gamma distribution would overflow."""


@dataclass(frozen=True)
class Load:
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


def draw_reels(load: Load, seed: int = SEED) -> SimulatedReels:
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


def _draw_clips(rng: random.Random, load: Load) -> Iterator[float]:
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
