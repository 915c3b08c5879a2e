"""The simulated queue beside what is known of such queues in closed form."""

import math
from datetime import timedelta
from statistics import fmean

import pytest

from phoenix.cli.capacity.queue import (
    Load,
    Reels,
    draw_reels,
    one_at_a_time,
    quantile,
    simulate,
    times_without_waits,
)
from phoenix.cli.capacity.turns import Turns
from phoenix.clock import utc_now
from phoenix.jobs.order import Waiting, take_turns

CLIP_S = 30.0


def load_of(busy_slots: float, *, clips: int = 1, spread: float = 0.0) -> Load:
    """Reels that keep so many slots busy."""
    return Load(reels_per_hour=busy_slots * 3600 / (clips * CLIP_S), clips=clips, clip_s=CLIP_S, spread=spread)


def share_that_waits(slots: int, busy_slots: float) -> float:
    """Erlang's C formula, by the recursion of his B formula."""
    blocked = 1.0
    for servers in range(1, slots + 1):
        blocked = busy_slots * blocked / (servers + busy_slots * blocked)
    return blocked / (1 - busy_slots / slots * (1 - blocked))


@pytest.mark.parametrize(("slots", "busy_slots"), [(2, 1.2), (8, 5.6)])
def test_single_clips_with_exponential_times_wait_as_erlang_says(slots: int, busy_slots: float):
    load = load_of(busy_slots, spread=1)
    runs = [simulate(draw_reels(load, seed), slots, Turns.ONE_KEY) for seed in range(3)]
    waits_s = sorted(wait_s for run in runs for wait_s in run.last_begun_s)
    waits = share_that_waits(slots, busy_slots)
    mean_s = waits * CLIP_S / (slots - busy_slots)
    p95_s = math.log(waits / 0.05) * CLIP_S / (slots - busy_slots)
    assert sum(wait_s > 0 for wait_s in waits_s) / len(waits_s) == pytest.approx(waits, rel=0.05)
    assert fmean(waits_s) == pytest.approx(mean_s, rel=0.1)
    assert quantile(waits_s, 0.95) == pytest.approx(p95_s, rel=0.1)


@pytest.mark.parametrize(("clips", "spread"), [(1, 0), (1, 0.5), (5, 0.5)])
def test_on_one_slot_reels_wait_as_pollaczek_and_khinchine_say(clips: int, spread: float):
    waits_s = simulate(draw_reels(load_of(0.6, clips=clips, spread=spread)), 1, Turns.ONE_KEY).first_begun_s
    # All clips of a reel are one piece of work for a single slot.
    work_s = clips * CLIP_S
    relative_variance = spread**2 / clips
    expected_s = 0.6 * work_s * (1 + relative_variance) / (2 * (1 - 0.6))
    assert fmean(waits_s) == pytest.approx(expected_s, rel=0.1)


def test_clips_that_come_together_wait_longer_than_erlang_says():
    alone = simulate(draw_reels(load_of(3, spread=1)), 4, Turns.ONE_KEY)
    together = simulate(draw_reels(load_of(3, clips=6, spread=1)), 4, Turns.ONE_KEY)
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


@pytest.mark.parametrize("turns", Turns)
def test_with_a_slot_for_every_clip_nobody_waits(turns: Turns):
    reels = draw_reels(load_of(2, clips=4, spread=0.25))
    waits = simulate(reels, 200, turns)
    assert waits.last_begun_s[-1] == 0
    assert waits.rendered_s == pytest.approx(times_without_waits(reels))


@pytest.mark.parametrize(("slots", "rounds"), [(1, 5), (3, 2), (5, 1), (9, 1)])
def test_on_an_idle_fleet_a_reel_takes_as_many_rounds_as_its_clips_need(slots: int, rounds: int):
    reels = one_at_a_time(draw_reels(load_of(9, clips=5)))
    waits = simulate(reels, slots, Turns.ONE_KEY)
    assert (waits.rendered_s[0], waits.rendered_s[-1]) == pytest.approx((rounds * CLIP_S, rounds * CLIP_S))


def test_reels_of_one_key_come_in_order():
    waits = simulate(Reels([0, 0, 0], [[10, 10]] * 3), 1, Turns.ONE_KEY)
    assert waits.rendered_s == [20, 40, 60]


def test_reels_of_many_keys_take_turns():
    waits = simulate(Reels([0, 0, 0], [[10, 10]] * 3), 1, Turns.MANY_KEYS)
    assert waits.rendered_s == [40, 50, 60]


def test_a_running_clip_counts_as_far_as_it_has_come():
    # At second 6 a slot is free for the second clip of the reel that has had 4 s, or of the one that has had 2 s.
    waits = simulate(Reels([0, 0, 1], [[6], [4, 10], [10, 10]]), 2, Turns.MANY_KEYS)
    assert waits.rendered_s == [6, 16 - 1, 14 + 10]


def test_turns_are_those_of_the_scheduler():
    now = utc_now()
    waiting = [
        Waiting(f"{reel}", 1, f"key {reel}", f"job {reel}", clip, "normal", now + timedelta(seconds=reel), 10)
        for reel in range(3)
        for clip in range(2)
    ]
    # The first key has had a clip already; what the scheduler picks then is what is simulated from second 10 on.
    picked = [int(turn.task_id) for turn in take_turns(waiting[1:], {"key 0": 10})]
    waits = simulate(Reels([0, 1, 2], [[10, 10]] * 3), 1, Turns.MANY_KEYS)
    ends_s = {reel: 10 * (len(picked) - picked[::-1].index(reel)) + 10 for reel in range(3)}
    assert picked == [1, 2, 0, 1, 2]
    assert sorted(ends_s[reel] - reel for reel in range(3)) == waits.rendered_s


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.95, 10), (0.05, 1), (1, 10)])
def test_a_quantile_is_the_smallest_that_so_many_do_not_exceed(share: float, expected: float):
    assert quantile(range(1, 11), share) == expected
