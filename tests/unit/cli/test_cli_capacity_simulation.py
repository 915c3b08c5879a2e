"""The simulated queue against results in closed form."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import pytest

from fixtures.waiting import make_ready
from phoenix.cli.bench.report import quantile
from phoenix.cli.capacity.simulation import (
    FairQueue,
    KeyCount,
    SimulatedReels,
    Workload,
    draw_reels,
    one_at_a_time,
    simulate,
    times_without_waits,
)
from phoenix.jobs.scheduling.fair_queue import decayed_usage_s, fair_order

CLIP_S = 30.0


def load_of(busy_slots: float, *, clips: int = 1, spread: float = 0.0) -> Workload:
    """SimulatedReels that keep so many slots busy."""
    return Workload(reels_per_hour=busy_slots * 3600 / (clips * CLIP_S), clips=clips, clip_s=CLIP_S, spread=spread)


def share_that_waits(slots: int, busy_slots: float) -> float:
    """Erlang's C formula, by the recursion of his B formula."""
    blocked = 1.0
    for servers in range(1, slots + 1):
        blocked = busy_slots * blocked / (servers + busy_slots * blocked)
    return blocked / (1 - busy_slots / slots * (1 - blocked))


@pytest.mark.parametrize(("slots", "busy_slots"), [(2, 1.2), (8, 5.6)])
def test_single_clips_with_exponential_times_wait_as_erlang_says(slots: int, busy_slots: float):
    load = load_of(busy_slots, spread=1)
    runs = [simulate(draw_reels(load, seed), slots, KeyCount.ONE_KEY) for seed in range(3)]
    waits_s = sorted(wait_s for run in runs for wait_s in run.last_begun_s)
    waits = share_that_waits(slots, busy_slots)
    mean_s = waits * CLIP_S / (slots - busy_slots)
    p95_s = math.log(waits / 0.05) * CLIP_S / (slots - busy_slots)
    assert sum(wait_s > 0 for wait_s in waits_s) / len(waits_s) == pytest.approx(waits, rel=0.05)
    assert fmean(waits_s) == pytest.approx(mean_s, rel=0.1)
    assert quantile(waits_s, 0.95) == pytest.approx(p95_s, rel=0.1)


@pytest.mark.parametrize(("clips", "spread"), [(1, 0), (1, 0.5), (5, 0.5)])
def test_on_one_slot_reels_wait_as_pollaczek_and_khinchine_say(clips: int, spread: float):
    waits_s = simulate(draw_reels(load_of(0.6, clips=clips, spread=spread)), 1, KeyCount.ONE_KEY).first_begun_s
    # All clips of a reel are one piece of work for a single slot.
    work_s = clips * CLIP_S
    relative_variance = spread**2 / clips
    expected_s = 0.6 * work_s * (1 + relative_variance) / (2 * (1 - 0.6))
    assert fmean(waits_s) == pytest.approx(expected_s, rel=0.1)


def test_clips_that_come_together_wait_longer_than_erlang_says():
    alone = simulate(draw_reels(load_of(3, spread=1)), 4, KeyCount.ONE_KEY)
    together = simulate(draw_reels(load_of(3, clips=6, spread=1)), 4, KeyCount.ONE_KEY)
    assert fmean(together.last_begun_s) > 2 * fmean(alone.last_begun_s)


def test_drawn_reels_come_as_often_and_take_as_long_as_the_load_says():
    load = load_of(4, clips=3, spread=0.5)
    reels = draw_reels(load)
    clips_s = [clip_s for clips in reels.clips_s for clip_s in clips]
    assert fmean(clips_s) == pytest.approx(CLIP_S, rel=0.02)
    assert fmean((clip_s - CLIP_S) ** 2 for clip_s in clips_s) ** 0.5 == pytest.approx(0.5 * CLIP_S, rel=0.02)
    assert len(reels.arrivals_s) / reels.arrivals_s[-1] * 3600 == pytest.approx(load.reels_per_hour, rel=0.03)


def test_a_spread_too_small_to_be_drawn_is_none():
    assert draw_reels(load_of(4, spread=1e-200)) == draw_reels(load_of(4, spread=0))


def test_the_same_load_gives_the_same_reels():
    assert draw_reels(load_of(4, spread=0.5)) == draw_reels(load_of(4, spread=0.5))


@pytest.mark.parametrize("turns", KeyCount)
def test_with_a_slot_for_every_clip_no_reel_waits(turns: KeyCount):
    reels = draw_reels(load_of(2, clips=4, spread=0.25))
    waits = simulate(reels, 200, turns)
    assert waits.last_begun_s[-1] == 0
    assert waits.rendered_s == pytest.approx(times_without_waits(reels))


@pytest.mark.parametrize(("slots", "rounds"), [(1, 5), (3, 2), (5, 1), (9, 1)])
def test_on_an_idle_fleet_a_reel_takes_as_many_rounds_as_its_clips_need(slots: int, rounds: int):
    reels = one_at_a_time(draw_reels(load_of(9, clips=5)))
    waits = simulate(reels, slots, KeyCount.ONE_KEY)
    assert (waits.rendered_s[0], waits.rendered_s[-1]) == pytest.approx((rounds * CLIP_S, rounds * CLIP_S))


def test_reels_of_one_key_come_in_order():
    waits = simulate(SimulatedReels([0, 0, 0], [[10, 10]] * 3), 1, KeyCount.ONE_KEY)
    assert waits.rendered_s == [20, 40, 60]


def test_reels_of_many_keys_take_turns():
    waits = simulate(SimulatedReels([0, 0, 0], [[10, 10]] * 3), 1, KeyCount.MANY_KEYS)
    assert waits.rendered_s == [30, 40, 60]


def test_an_idle_reel_comes_after_new_reels_for_a_quarter_of_its_usage():
    # At second 9 the first reel has 8 - 4 s left of its service, at second 10 none: what comes then has to wait for it.
    waits = simulate(SimulatedReels([0, 8, 9, 10], [[8, 10], [1], [1], [1]]), 1, KeyCount.MANY_KEYS)
    assert waits.rendered_s == [10 - 9, 9 - 8, 21 - 10, 20]


def test_a_running_clip_counts_as_far_as_it_has_come():
    # At second 6 a slot is free for the second clip of the reel that has had 6 s, or of the one that has had 5 s.
    waits = simulate(SimulatedReels([0, 0, 0, 1], [[1], [6], [10, 10], [10, 10]]), 3, KeyCount.MANY_KEYS)
    assert waits.rendered_s == [1, 6, 16 - 1, 10 + 10]


@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_the_order_of_the_scheduler(seed: int):
    rng, queue, reels = random.Random(seed), FairQueue(), list[KeyWithOneReel]()
    begun = 0
    for now_s in range(400):
        for reel, key in enumerate(reels):
            for _ in range(key.count_ended(now_s)):
                queue.end(reel, now_s)
        if rng.random() < 0.1:
            queue.add(len(reels), clips := rng.randint(1, 5))
            reels.append(KeyWithOneReel(clips))
        while len(queue) and sum(key.count_running(now_s) for key in reels) < 3:
            reel = queue.begin(now_s)
            assert reel == next_by_scheduler(reels, now_s)
            reels[reel].spans_s.append((now_s, now_s + rng.randint(1, 20)))
            begun += 1
    assert begun > 50


@dataclass
class KeyWithOneReel:
    """What the scheduler can know of it: the spans of time, in seconds, for which its clips have had slots."""

    clips: int
    spans_s: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def count_ended(self, now_s: int) -> int:
        return sum(ended_s == now_s for _, ended_s in self.spans_s)

    def count_running(self, now_s: int) -> int:
        return sum(ended_s > now_s for _, ended_s in self.spans_s)

    def served_s(self, now_s: int) -> float:
        served_s = sum(min(ended_s, now_s) - begun_s for begun_s, ended_s in self.spans_s)
        return decayed_usage_s(served_s, min((max(0, now_s - ended_s) for _, ended_s in self.spans_s), default=0))


def next_by_scheduler(reels: Sequence[KeyWithOneReel], now_s: int) -> int:
    waiting = [
        make_ready(str(reel), owner=f"key {reel}", age_s=-reel)
        for reel, key in enumerate(reels)
        if len(key.spans_s) < key.clips
    ]
    served_s = {f"key {reel}": key.served_s(now_s) for reel, key in enumerate(reels)}
    return int(next(fair_order(waiting, served_s)).task_id)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.95, 10), (0.05, 1), (1, 10)])
def test_a_quantile_is_the_smallest_that_so_many_do_not_exceed(share: float, expected: float):
    assert quantile(range(1, 11), share) == expected
