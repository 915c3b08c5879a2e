"""When an attempt must stop by itself, on a clock that the test sets."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.claims import ManualClock, a_claim
from phoenix.engine.stop_token import StopReason
from phoenix.errors import Stage
from phoenix.jobs.lifecycle import TaskKind
from phoenix.worker.leases import HeldLease, LeaseTerms

TERMS = LeaseTerms(lease_s=10, heartbeat_s=2, stall_timeout_s=100)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease(clock: ManualClock) -> HeldLease:
    return HeldLease(a_claim(), since_s=clock(), clock=clock)


def checked_after(lease: HeldLease, clock: ManualClock, seconds: float) -> StopReason | None:
    clock.now_s += seconds
    lease.check(TERMS)
    return lease.stop.reason


def test_a_lease_is_given_up_before_it_can_have_expired(lease: HeldLease, clock: ManualClock) -> None:
    assert checked_after(lease, clock, 7.9) is None
    assert checked_after(lease, clock, 0.2) is StopReason.LOST


def test_a_renewal_counts_from_when_it_was_sent(lease: HeldLease, clock: ManualClock) -> None:
    sent_s = clock() + 1
    clock.now_s += 5
    lease.mark_renewed(sent_s)
    assert checked_after(lease, clock, 3.9) is None
    assert checked_after(lease, clock, 0.2) is StopReason.LOST


def test_a_late_answer_does_not_shorten_a_lease(lease: HeldLease, clock: ManualClock) -> None:
    lease.mark_renewed(clock() + 5)
    lease.mark_renewed(clock() + 1)
    assert checked_after(lease, clock, 12) is None


def beat(lease: HeldLease, clock: ManualClock, seconds: float, each: Callable[[], None] = lambda: None) -> None:
    """Renews for so long, a second at a time."""
    for _ in range(int(seconds)):
        clock.now_s += 1
        lease.mark_renewed(clock())
        each()
        lease.check(TERMS)


def test_work_that_reports_nothing_is_stopped_though_its_lease_is_renewed(lease: HeldLease, clock: ManualClock) -> None:
    beat(lease, clock, 101)
    assert lease.stop.reason is StopReason.STALLED
    assert not lease.is_renewable


def test_work_that_moves_is_left_alone(lease: HeldLease, clock: ManualClock) -> None:
    beat(lease, clock, 500, each=lease.record_progress)
    assert lease.stop.reason is None
    assert lease.is_renewable


def test_waiting_for_a_turn_is_no_stall(lease: HeldLease, clock: ManualClock) -> None:
    with lease.pause_stall_timer():
        beat(lease, clock, 500)
    beat(lease, clock, 99)
    assert lease.stop.reason is None


def test_a_pause_goes_on_while_another_ends(lease: HeldLease, clock: ManualClock) -> None:
    first = lease.pause_stall_timer()
    first.__enter__()
    with lease.pause_stall_timer():
        first.__exit__(None, None, None)
        beat(lease, clock, 500)
    assert lease.stop.reason is None


def test_a_stalled_thread_is_hung_once_its_lease_has_expired(lease: HeldLease, clock: ManualClock) -> None:
    beat(lease, clock, 101)
    clock.now_s += 9
    hung_before = lease.is_hung(TERMS)
    clock.now_s += 2
    assert (hung_before, lease.is_hung(TERMS)) == (False, True)


def test_a_canceled_attempt_keeps_its_lease_until_it_has_ended(lease: HeldLease) -> None:
    lease.stop.stop(StopReason.CANCEL)
    assert lease.is_renewable


def test_a_lost_attempt_is_not_renewed(lease: HeldLease) -> None:
    lease.stop.stop(StopReason.LOST)
    assert not lease.is_renewable


def test_between_two_stages_the_stage_stays(lease: HeldLease) -> None:
    lease.enter_stage(Stage.UPLOAD)
    lease.enter_stage(None)
    assert lease.stage is Stage.UPLOAD


def test_only_a_clip_that_gave_its_slot_back_since_the_last_report_has_an_unreported_finish() -> None:
    lease = HeldLease(replace(a_claim(), kind=TaskKind.RENDER), since_s=0)
    seen = [lease.has_unreported_finish]
    lease.enter_stage(Stage.ENCODE)
    seen.append(lease.has_unreported_finish)
    lease.reported_stage = Stage.ENCODE
    lease.enter_stage(Stage.UPLOAD)
    seen.append(lease.has_unreported_finish)
    assert seen == [False, True, False]


def test_an_assembly_gives_no_slot_back(lease: HeldLease) -> None:
    lease.enter_stage(Stage.UPLOAD)
    assert not lease.has_unreported_finish


def test_a_wait_is_unreported_from_its_begin_to_a_report_and_from_its_end_to_another() -> None:
    lease = HeldLease(replace(a_claim(), kind=TaskKind.RENDER), since_s=0)
    seen = [lease.has_unreported_wait]
    for entered, reported in ((Stage.LOAD, None), (Stage.LOAD, Stage.LOAD), (Stage.QUEUE, Stage.LOAD)):
        lease.enter_stage(entered)
        lease.reported_stage = reported
        seen.append(lease.has_unreported_wait)
    lease.enter_stage(Stage.DENOISE)
    assert [*seen, lease.has_unreported_wait] == [False, True, False, False, True]


def test_a_lost_attempt_reports_no_wait() -> None:
    lease = HeldLease(replace(a_claim(), kind=TaskKind.RENDER), since_s=0)
    lease.enter_stage(Stage.LOAD)
    lease.stop.stop(StopReason.LOST)
    assert not lease.has_unreported_wait


def test_before_the_work_enters_a_stage_its_first_stage_is_assumed() -> None:
    lease = HeldLease(replace(a_claim(), kind=TaskKind.RENDER), since_s=0)
    assert (lease.stage, lease.entered_stage) == (Stage.LOAD, None)
