"""The words in which a fleet is sized: what is promised, what it costs, and what is said of one size. Only data."""

from dataclasses import dataclass
from enum import StrEnum

PROMISED_SHARE = 0.95
HOURS_A_MONTH = 730


class FleetVerdict(StrEnum):
    """Of one fleet under one load."""

    KEEPS = "keeps the promise"
    LATE = "too slow"
    NO_RESERVE = "no reserve"
    """It keeps up, but so barely that its waits cannot be relied on."""
    OVERLOADED = "cannot keep up"
    """More comes than it can render: the queue grows for as long as the load lasts."""


@dataclass(frozen=True)
class Promise:
    """Longest seconds for 95 of 100 reels; None if nothing is promised about it."""

    wait_s: float | None = None
    """From the submission of a reel until the last of its clips has a slot."""
    ready_s: float | None = None
    """From the submission of a reel until its file can be had."""


@dataclass(frozen=True)
class ReelTimes:
    """Seconds from the submission of a reel, for half of the reels and for 95 of 100."""

    queue_p95_s: float
    """Until its first clip has a slot: `queue_s` in the timings of a job."""
    wait_p50_s: float
    wait_p95_s: float
    ready_p50_s: float
    ready_p95_s: float

    def meets(self, promise: Promise) -> bool:
        limits = ((self.wait_p95_s, promise.wait_s), (self.ready_p95_s, promise.ready_s))
        return all(limit_s is None or taken_s <= limit_s for taken_s, limit_s in limits)


@dataclass(frozen=True)
class Price:
    """In whatever currency `per_hour` is."""

    per_hour: float
    """Of one GPU worker."""
    video_s: float | None = None
    """Seconds of video in the clips of a reel, if known."""


@dataclass(frozen=True)
class Cost:
    """Of the GPU workers alone, which cost the same whether they are busy or not."""

    per_hour: float
    per_month: float
    per_reel: float
    per_video_minute: float | None


@dataclass(frozen=True)
class Fleet:
    """What is said of a fleet of one size."""

    workers: int
    slots: int
    utilisation: float
    """Share of the time for which its slots are busy; 1 or more if it cannot keep up."""
    most_clips_per_hour: float
    most_reels_per_hour: float
    verdict: FleetVerdict
    times: ReelTimes | None
    """None if it cannot keep up: its waits grow for as long as the load lasts."""
    cost: Cost | None


def cost_of(workers: int, price: Price, reels_per_hour: float) -> Cost:
    """`reels_per_hour`: those that the fleet really makes."""
    per_hour = workers * price.per_hour
    per_reel = per_hour / reels_per_hour
    return Cost(
        per_hour=per_hour,
        per_month=per_hour * HOURS_A_MONTH,
        per_reel=per_reel,
        per_video_minute=None if price.video_s is None else per_reel * 60 / price.video_s,
    )
