"""The progress, timings and stops of a clip, from the calls of an engine."""

import pytest

from fixtures.claims import ManualClock, a_claim
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import Stage
from phoenix.media.ffmpeg import Progress
from phoenix.worker.leases import HeldLease, LeaseTerms
from phoenix.worker.render_observer import ClipObserver

TERMS = LeaseTerms(lease_s=1000, heartbeat_s=1, stall_timeout_s=10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease(clock: ManualClock) -> HeldLease:
    return HeldLease(a_claim(), since_s=clock(), clock=clock)


@pytest.fixture
def changes() -> list[int]:
    return []


@pytest.fixture
def observer(lease: HeldLease, clock: ManualClock, changes: list[int]) -> ClipObserver:
    return ClipObserver(lease, steps=4, num_frames=8, on_change=lambda: changes.append(1), clock=clock)


def test_steps_are_counted_from_the_start_of_denoising(observer: ClipObserver, clock: ManualClock) -> None:
    observer.on_stage(Stage.LOAD)
    clock.now_s += 100
    observer.on_stage(Stage.DENOISE)
    clock.now_s += 6
    observer.on_step(2, 4)
    state = observer.progress()
    assert (state.step, state.steps, state.stepping_s, state.finishing_s) == (2, 4, 6, 0)


def test_after_the_last_step_the_time_of_the_steps_stands_still(observer: ClipObserver, clock: ManualClock) -> None:
    observer.on_stage(Stage.DENOISE)
    clock.now_s += 6
    observer.on_step(4, 4)
    clock.now_s += 2
    observer.ffmpeg_callbacks()
    clock.now_s += 3
    state = observer.progress()
    assert (state.stepping_s, state.finishing_s, state.encoding_s) == (6, 5, 3)


def test_every_step_and_every_report_of_the_encoder_is_news(observer: ClipObserver, changes: list[int]) -> None:
    observer.on_step(1, 4)
    observer.on_step(2, 4)
    observer.ffmpeg_callbacks().on_progress(Progress(frames=4, seconds=0.5))
    assert len(changes) == 3
    assert observer.progress().encoded_share == 0.5


def test_a_second_try_with_less_memory_does_not_take_progress_back(observer: ClipObserver) -> None:
    observer.on_step(3, 4)
    observer.on_step(1, 4)
    assert observer.progress().step == 3


@pytest.mark.parametrize("report", ["stage", "step"])
def test_the_render_is_stopped_at_its_next_report(observer: ClipObserver, lease: HeldLease, report: str) -> None:
    lease.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        observer.on_stage(Stage.DECODE) if report == "stage" else observer.on_step(1, 4)


def test_the_encoder_is_stopped_too(observer: ClipObserver, lease: HeldLease) -> None:
    before = observer.ffmpeg_callbacks().should_stop()
    lease.stop.stop(StopReason.CANCEL)
    assert (before, observer.ffmpeg_callbacks().should_stop()) == (False, True)


def test_reports_keep_the_attempt_from_being_given_up(
    observer: ClipObserver, lease: HeldLease, clock: ManualClock
) -> None:
    for step in range(1, 5):
        clock.now_s += 9
        observer.on_step(step, 4)
        lease.check(TERMS)
    assert lease.stop.reason is None


def test_changed_frames_have_a_stage_of_their_own_between_the_decode_and_the_encoder(
    observer: ClipObserver, lease: HeldLease, clock: ManualClock
) -> None:
    observer.begin_postprocessing()
    observer.on_stage(Stage.DECODE)
    clock.now_s += 1
    observer.on_made()
    assert lease.stage is Stage.POSTPROCESS
    clock.now_s += 5
    observer.end_postprocessing()
    assert lease.stage is Stage.ENCODE
    clock.now_s += 2
    observer.stopwatch.enter(None)
    timings = observer.stopwatch.clip_timings()
    assert (timings.decode_s, timings.postprocess_s, timings.encode_s) == (1, 5, 2)


def test_frames_that_are_changed_before_the_engine_says_that_it_is_done_leave_the_encoder(
    observer: ClipObserver, lease: HeldLease
) -> None:
    observer.begin_postprocessing()
    observer.on_stage(Stage.DECODE)
    observer.end_postprocessing()
    assert lease.stage is Stage.DECODE
    observer.on_made()
    assert lease.stage is Stage.ENCODE


def test_without_changes_the_encoder_follows_the_decode(observer: ClipObserver, lease: HeldLease) -> None:
    observer.on_stage(Stage.DECODE)
    observer.on_made()
    assert lease.stage is Stage.ENCODE


def test_between_frames_the_work_advances_and_sees_a_stop(observer: ClipObserver, lease: HeldLease) -> None:
    observer.check()
    lease.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        observer.check()


def test_the_steps_of_a_clip_that_is_changed_afterwards_are_a_smaller_share_of_it(lease: HeldLease) -> None:
    plain, changed = (
        ClipObserver(lease, steps=4, num_frames=8, is_postprocessed=each, on_change=lambda: None)
        for each in (False, True)
    )
    for observer in (plain, changed):
        observer.on_step(4, 4)
    assert (plain.progress().progress, changed.progress().progress) == (0.9, 0.6)
