"""The fleet that is found for a load and a promise, and its report."""

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest

from phoenix.cli.capacity.fleet import MOST_BUSY, FleetVerdict, Price, Promise, PromiseImpossible, Trials
from phoenix.cli.capacity.simulation import KeyCount, Workload

LOAD = Workload(reels_per_hour=40, clips=5, clip_s=35, finish_s=2, assembly_s=6)
PRICE = Price(per_hour=2.5, video_s=25)


@cache
def trials(
    load: Workload = LOAD,
    *,
    wait_s: float | None = None,
    ready_s: float | None = None,
    slots_per_worker: int = 1,
    price: Price | None = None,
) -> Trials:
    """Kept, as it tries no fleet twice."""
    promise = Promise(wait_s=wait_s, ready_s=ready_s)
    return Trials(load, promise, KeyCount.ONE_KEY, slots_per_worker=slots_per_worker, price=price)


@pytest.mark.parametrize("asked", [{"wait_s": 60}, {"ready_s": 90}, {"wait_s": 120, "ready_s": 100}])
def test_the_fewest_workers_keep_the_promise_and_one_fewer_does_not(asked: dict[str, float]):
    tried = trials(**asked)
    fewest = tried.find_fewest()
    assert tried.describe(fewest).verdict is FleetVerdict.KEEPS
    assert tried.describe(fewest - 1).verdict is not FleetVerdict.KEEPS


@pytest.mark.parametrize("read", [lambda times: times.wait_p95_s, lambda times: times.ready_p95_s])
def test_each_worker_more_shortens_the_times_or_leaves_them(read: Callable[..., float]):
    tried = trials(wait_s=60)
    found = [read(tried.describe(workers).times) for workers in range(2, 9)]
    assert all(larger <= smaller for smaller, larger in pairwise(found))


def test_a_longer_wait_never_takes_more_workers():
    fewest = [trials(wait_s=wait_s).find_fewest() for wait_s in (5, 60, 300)]
    assert fewest == sorted(fewest, reverse=True)


def test_a_fleet_below_the_load_cannot_keep_up_and_has_no_waits_to_show():
    fleet = trials(wait_s=10_000).describe(1)
    assert (fleet.verdict, fleet.times) == (FleetVerdict.OVERLOADED, None)
    assert fleet.utilisation == pytest.approx(40 * 5 * 35 / 3600)


def test_a_fleet_that_barely_keeps_up_has_no_reserve_for_any_promise():
    tried = trials(wait_s=1e6)
    assert (tried.describe(2).verdict, tried.find_fewest()) == (FleetVerdict.NO_RESERVE, 3)


@pytest.mark.parametrize("reels_per_hour", [1, 333])
def test_the_fewest_workers_are_never_busier_than_can_be_relied_on(reels_per_hour: float):
    tried = trials(Workload(reels_per_hour, clips=3, clip_s=20), wait_s=1e6)
    assert tried.describe(tried.find_fewest()).utilisation <= MOST_BUSY


def test_a_fleet_as_large_as_its_load_does_at_most_just_that():
    fleet = trials(Workload(360, clips=5, clip_s=10), wait_s=60).describe(5)
    assert (fleet.utilisation, fleet.most_reels_per_hour, fleet.most_clips_per_hour) == pytest.approx((1, 360, 1800))
    assert fleet.verdict is FleetVerdict.OVERLOADED


def test_workers_with_several_slots_are_as_good_as_so_many_workers():
    assert trials(slots_per_worker=4, wait_s=60).describe(2).times == trials(wait_s=60).describe(8).times


def test_a_promise_shorter_than_a_clip_is_impossible_and_says_what_is_possible():
    with pytest.raises(PromiseImpossible) as caught:
        trials(Workload(40, clips=5, clip_s=35, spread=0, finish_s=2, assembly_s=6), ready_s=43).find_fewest()
    assert caught.value.ready_s == pytest.approx(35 + 2 + 6)


def test_the_shortest_promise_that_is_possible_finds_a_fleet():
    tried = trials(Workload(40, clips=5, clip_s=35, spread=0, finish_s=2, assembly_s=6), ready_s=43.01)
    assert tried.describe(tried.find_fewest()).times.ready_p95_s == pytest.approx(43)


def test_a_promise_of_no_wait_at_all_finds_a_fleet():
    tried = trials(wait_s=0)
    assert tried.describe(tried.find_fewest()).times.wait_p95_s == 0


def test_what_follows_a_clip_lengthens_a_reel_and_keeps_no_slot():
    plain, longer = (
        trials(Workload(40, 5, 35, finish_s=after_s, assembly_s=after_s), wait_s=60) for after_s in (0, 10)
    )
    before, after = (tried.describe(4).times for tried in (plain, longer))
    assert (after.ready_p95_s, after.wait_p95_s) == pytest.approx((before.ready_p95_s + 20, before.wait_p95_s))


def test_an_idle_fleet_is_quicker_than_one_under_load():
    tried = trials(wait_s=60)
    assert 43 < tried.idle_times(5).ready_p50_s < tried.describe(5).times.ready_p50_s


def test_the_cost_of_a_reel_is_its_share_of_the_workers():
    cost = trials(wait_s=60, price=PRICE).describe(6).cost
    assert (cost.per_hour, cost.per_month, cost.per_reel) == pytest.approx((15, 10_950, 0.375))
    assert cost.per_video_minute == pytest.approx(0.375 * 60 / 25)


def test_a_fleet_that_cannot_keep_up_costs_as_much_for_fewer_reels():
    fleet = trials(wait_s=60, price=PRICE).describe(1)
    assert fleet.cost.per_reel == pytest.approx(2.5 / fleet.most_reels_per_hour)


def test_without_a_price_there_is_no_cost():
    assert trials(wait_s=60).describe(6).cost is None


def test_without_a_length_there_is_no_cost_of_a_minute():
    assert trials(wait_s=60, price=Price(2.5)).describe(6).cost.per_video_minute is None


def test_many_clips_of_few_reels_find_a_fleet_beyond_their_mean():
    tried = trials(Workload(2, clips=40, clip_s=35, spread=0), wait_s=10)
    assert tried.find_fewest() >= 40 > math.ceil(2 * 40 * 35 / 3600)
