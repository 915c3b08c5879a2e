"""What the watcher of a clip makes of an engine's reports."""

import pytest

from fixtures.claims import HandTurnedClock, a_claim
from phoenix.engine.cancellation import RenderStopped, StopReason
from phoenix.errors import Stage
from phoenix.media.ffmpeg import Progress
from phoenix.worker.leases import Lease, LeaseTerms
from phoenix.worker.render_observer import StepWatcher

TERMS = LeaseTerms(lease_s=1000, heartbeat_s=1, stall_s=10)


@pytest.fixture
def clock() -> HandTurnedClock:
    return HandTurnedClock()


@pytest.fixture
def lease(clock: HandTurnedClock) -> Lease:
    return Lease(a_claim(), since_s=clock(), clock=clock)


@pytest.fixture
def rung() -> list[int]:
    return []


@pytest.fixture
def watcher(lease: Lease, clock: HandTurnedClock, rung: list[int]) -> StepWatcher:
    return StepWatcher(lease, steps=4, num_frames=8, on_change=lambda: rung.append(1), clock=clock)


def test_steps_are_counted_from_the_start_of_denoising(watcher: StepWatcher, clock: HandTurnedClock) -> None:
    watcher.on_stage(Stage.LOAD)
    clock.now_s += 100
    watcher.on_stage(Stage.DENOISE)
    clock.now_s += 6
    watcher.on_step(2, 4)
    advance = watcher.advance()
    assert (advance.step, advance.steps, advance.stepping_s, advance.finishing_s) == (2, 4, 6, 0)


def test_after_the_last_step_the_time_of_the_steps_stands_still(watcher: StepWatcher, clock: HandTurnedClock) -> None:
    watcher.on_stage(Stage.DENOISE)
    clock.now_s += 6
    watcher.on_step(4, 4)
    clock.now_s += 2
    watcher.on_stage(Stage.ENCODE)
    clock.now_s += 3
    advance = watcher.advance()
    assert (advance.stepping_s, advance.finishing_s, advance.encoding_s) == (6, 5, 3)


def test_every_step_and_every_report_of_the_encoder_is_news(watcher: StepWatcher, rung: list[int]) -> None:
    watcher.on_step(1, 4)
    watcher.on_step(2, 4)
    watcher.encoding().on_progress(Progress(frames=4, seconds=0.5))
    assert len(rung) == 3
    assert watcher.advance().encoded_share == 0.5


def test_a_second_try_with_less_memory_does_not_take_progress_back(watcher: StepWatcher) -> None:
    watcher.on_step(3, 4)
    watcher.on_step(1, 4)
    assert watcher.advance().step == 3


@pytest.mark.parametrize("report", ["stage", "step"])
def test_the_render_is_stopped_at_its_next_report(watcher: StepWatcher, lease: Lease, report: str) -> None:
    lease.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        watcher.on_stage(Stage.DECODE) if report == "stage" else watcher.on_step(1, 4)


def test_the_encoder_is_stopped_too(watcher: StepWatcher, lease: Lease) -> None:
    before = watcher.encoding().should_stop()
    lease.stop.stop(StopReason.CANCEL)
    assert (before, watcher.encoding().should_stop()) == (False, True)


def test_reports_keep_the_attempt_from_being_given_up(
    watcher: StepWatcher, lease: Lease, clock: HandTurnedClock
) -> None:
    for step in range(1, 5):
        clock.now_s += 9
        watcher.on_step(step, 4)
        lease.judge(TERMS)
    assert lease.stop.reason is None
