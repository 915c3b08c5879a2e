"""Sizes a fleet: tries several sizes on the same load, and finds the smallest fleet that keeps a promise. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum

from phoenix.cli.bench.report import quantile
from phoenix.cli.capacity.simulation import (
    KeyCount,
    Waits,
    Workload,
    draw_reels,
    one_at_a_time,
    simulate,
    times_without_waits,
)

PROMISED_SHARE = 0.95
HOURS_A_MONTH = 730


class FleetVerdict(StrEnum):
    """How one fleet copes with one load."""

    KEEPS = "keeps the promise"
    LATE = "too slow"
    NO_RESERVE = "no reserve"
    """The fleet keeps up, but so barely that its waits are unreliable."""
    OVERLOADED = "cannot keep up"
    """More clips arrive than the fleet can render. The queue grows as long as the load lasts."""


@dataclass(frozen=True)
class Promise:
    """The longest times in seconds for 95 of 100 reels. None promises nothing."""

    wait_s: float | None = None
    """From the submission of a reel until its last clip has a slot."""
    ready_s: float | None = None
    """From the submission of a reel until its file is ready."""


@dataclass(frozen=True)
class ReelTimes:
    """Seconds from the submission of a reel, for half of the reels (p50) and for 95 of 100 reels (p95)."""

    queue_p95_s: float
    """Until the first clip has a slot: `queue_s` in the timings of a job."""
    wait_p50_s: float
    wait_p95_s: float
    ready_p50_s: float
    ready_p95_s: float

    def meets(self, promise: Promise) -> bool:
        """Whether the times keep the promise."""
        limits = ((self.wait_p95_s, promise.wait_s), (self.ready_p95_s, promise.ready_s))
        return all(limit_s is None or taken_s <= limit_s for taken_s, limit_s in limits)


@dataclass(frozen=True)
class Price:
    """The price of GPU workers, in any currency."""

    per_hour: float
    """Price of one GPU worker."""
    video_s: float | None = None
    """Seconds of video in the clips of a reel, if known."""


@dataclass(frozen=True)
class Cost:
    """The cost of the GPU workers alone. Idle workers cost as much as busy workers."""

    per_hour: float
    per_month: float
    per_reel: float
    per_video_minute: float | None


@dataclass(frozen=True)
class Fleet:
    """A fleet of one size under the load."""

    workers: int
    slots: int
    utilisation: float
    """Share of the time in which the slots are busy. 1 or more if the fleet cannot keep up."""
    most_clips_per_hour: float
    most_reels_per_hour: float
    verdict: FleetVerdict
    times: ReelTimes | None
    """None if the fleet cannot keep up, because its waits grow as long as the load lasts."""
    cost: Cost | None


def cost_of(workers: int, price: Price, reels_per_hour: float) -> Cost:
    """The cost of a fleet. `reels_per_hour`: the reels that the fleet makes, which may be fewer than the load."""
    per_hour = workers * price.per_hour
    per_reel = per_hour / reels_per_hour
    return Cost(
        per_hour=per_hour,
        per_month=per_hour * HOURS_A_MONTH,
        per_reel=per_reel,
        per_video_minute=None if price.video_s is None else per_reel * 60 / price.video_s,
    )


MOST_BUSY = 0.9
"""The highest reliable utilisation. Above it, a bit more load or another seed may double the waits."""

# A limit so close to the shortest possible time is equal to it: the simulation adds up floats.
_EXACT_TO_S = 0.001


class PromiseImpossible(Exception):
    """No number of workers keeps the promise. 95 of 100 reels take `ready_s` without any wait."""

    def __init__(self, ready_s: float) -> None:
        super().__init__(f"95 of 100 reels take up to {ready_s:.1f} s without any wait")
        self.ready_s = ready_s


class Trials:
    """Simulates fleets of several sizes on the same reels: two fleets differ by their size and not by chance."""

    def __init__(
        self, load: Workload, promise: Promise, keys: KeyCount, *, slots_per_worker: int = 1, price: Price | None = None
    ) -> None:
        self._load = load
        self._promise = promise
        self._keys = keys
        self._slots_per_worker = slots_per_worker
        self._price = price
        self._reels = draw_reels(load)
        self._tried: dict[int, ReelTimes] = {}

    def find_fewest(self) -> int:
        """The fewest workers that keep the promise. Raises `PromiseImpossible`."""
        self._check_possible()
        fewest = max(1, math.ceil(self._load.busy_slots / (MOST_BUSY * self._slots_per_worker)))
        enough, step = fewest, 1
        while not self._meets_promise(enough):
            fewest, enough, step = enough + 1, enough + step, step * 2
        while fewest < enough:
            middle = (fewest + enough) // 2
            if self._meets_promise(middle):
                enough = middle
            else:
                fewest = middle + 1
        return enough

    def describe(self, workers: int) -> Fleet:
        """The fleet of this many workers."""
        slots = workers * self._slots_per_worker
        clips_per_hour = slots * 3600 / self._load.clip_s
        reels_per_hour = clips_per_hour / self._load.clips
        verdict = self._classify(workers)
        return Fleet(
            workers=workers,
            slots=slots,
            utilisation=self._load.busy_slots / slots,
            most_clips_per_hour=clips_per_hour,
            most_reels_per_hour=reels_per_hour,
            verdict=verdict,
            times=None if verdict is FleetVerdict.OVERLOADED else self._times(workers),
            cost=self._price and cost_of(workers, self._price, min(reels_per_hour, self._load.reels_per_hour)),
        )

    def times_by(self, keys: KeyCount, workers: int) -> ReelTimes:
        """Times of the reels if `keys` own them."""
        return self._read(simulate(self._reels, workers * self._slots_per_worker, keys))

    def idle_times(self, workers: int) -> ReelTimes:
        """Times of reels that find every slot free."""
        return self._read(simulate(one_at_a_time(self._reels), workers * self._slots_per_worker, self._keys))

    def _check_possible(self) -> None:
        ready_s = quantile(times_without_waits(self._reels), PROMISED_SHARE) + self._load.after_s
        if self._promise.ready_s is not None and self._promise.ready_s < ready_s + _EXACT_TO_S:
            raise PromiseImpossible(ready_s)

    def _classify(self, workers: int) -> FleetVerdict:
        utilisation = self._load.busy_slots / (workers * self._slots_per_worker)
        if utilisation >= 1:
            return FleetVerdict.OVERLOADED
        if utilisation > MOST_BUSY:
            return FleetVerdict.NO_RESERVE
        return FleetVerdict.KEEPS if self._meets_promise(workers) else FleetVerdict.LATE

    def _meets_promise(self, workers: int) -> bool:
        return self._times(workers).meets(self._promise)

    def _times(self, workers: int) -> ReelTimes:
        if workers not in self._tried:
            self._tried[workers] = self.times_by(self._keys, workers)
        return self._tried[workers]

    def _read(self, waits: Waits) -> ReelTimes:
        return ReelTimes(
            queue_p95_s=quantile(waits.first_begun_s, PROMISED_SHARE),
            wait_p50_s=quantile(waits.last_begun_s, 0.5),
            wait_p95_s=quantile(waits.last_begun_s, PROMISED_SHARE),
            ready_p50_s=quantile(waits.rendered_s, 0.5) + self._load.after_s,
            ready_p95_s=quantile(waits.rendered_s, PROMISED_SHARE) + self._load.after_s,
        )
