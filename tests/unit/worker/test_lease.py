"""When an attempt must stop by itself, told by a clock that the test turns."""

from collections.abc import Callable

import pytest

from fixtures.claims import HandTurnedClock, a_claim
from phoenix.engine.cancellation import StopReason
from phoenix.worker.leases import Lease, LeaseTerms

TERMS = LeaseTerms(lease_s=10, heartbeat_s=2, stall_s=100)


@pytest.fixture
def clock() -> HandTurnedClock:
    return HandTurnedClock()


@pytest.fixture
def lease(clock: HandTurnedClock) -> Lease:
    return Lease(a_claim(), since_s=clock(), clock=clock)


def judged_after(lease: Lease, clock: HandTurnedClock, seconds: float) -> StopReason | None:
    clock.now_s += seconds
    lease.judge(TERMS)
    return lease.stop.reason


def test_a_lease_is_given_up_before_it_can_have_lapsed(lease: Lease, clock: HandTurnedClock) -> None:
    assert judged_after(lease, clock, 7.9) is None
    assert judged_after(lease, clock, 0.2) is StopReason.LOST


def test_a_renewal_counts_from_when_it_was_sent(lease: Lease, clock: HandTurnedClock) -> None:
    sent_s = clock() + 1
    clock.now_s += 5
    lease.renewed(sent_s)
    assert judged_after(lease, clock, 3.9) is None
    assert judged_after(lease, clock, 0.2) is StopReason.LOST


def test_a_late_answer_does_not_shorten_a_lease(lease: Lease, clock: HandTurnedClock) -> None:
    lease.renewed(clock() + 5)
    lease.renewed(clock() + 1)
    assert judged_after(lease, clock, 12) is None


def beat(lease: Lease, clock: HandTurnedClock, seconds: float, each: Callable[[], None] = lambda: None) -> None:
    """Renews for so long, a second at a time."""
    for _ in range(int(seconds)):
        clock.now_s += 1
        lease.renewed(clock())
        each()
        lease.judge(TERMS)


def test_work_that_reports_nothing_is_stopped_though_its_lease_is_renewed(lease: Lease, clock: HandTurnedClock) -> None:
    beat(lease, clock, 101)
    assert lease.stop.reason is StopReason.STALLED
    assert not lease.is_renewable


def test_work_that_moves_is_left_alone(lease: Lease, clock: HandTurnedClock) -> None:
    beat(lease, clock, 500, each=lease.advance)
    assert lease.stop.reason is None
    assert lease.is_renewable


def test_waiting_for_a_turn_is_no_standing_still(lease: Lease, clock: HandTurnedClock) -> None:
    with lease.resting():
        beat(lease, clock, 500)
    beat(lease, clock, 99)
    assert lease.stop.reason is None


def test_a_rest_goes_on_while_another_ends(lease: Lease, clock: HandTurnedClock) -> None:
    first = lease.resting()
    first.__enter__()
    with lease.resting():
        first.__exit__(None, None, None)
        beat(lease, clock, 500)
    assert lease.stop.reason is None


def test_a_stalled_thread_is_hopeless_once_its_lease_has_lapsed(lease: Lease, clock: HandTurnedClock) -> None:
    beat(lease, clock, 101)
    clock.now_s += 9
    hopeless_before = lease.is_hopeless(TERMS)
    clock.now_s += 2
    assert (hopeless_before, lease.is_hopeless(TERMS)) == (False, True)


def test_a_canceled_attempt_keeps_its_lease_until_it_has_ended(lease: Lease) -> None:
    lease.stop.stop(StopReason.CANCEL)
    assert lease.is_renewable


def test_a_lost_attempt_is_not_renewed(lease: Lease) -> None:
    lease.stop.stop(StopReason.LOST)
    assert not lease.is_renewable
