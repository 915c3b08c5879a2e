"""The seconds of each stage of a task."""

from fixtures.claims import ManualClock
from phoenix.errors import Stage
from phoenix.worker.render_observer import Stopwatch


def test_a_stage_lasts_until_the_next_begins() -> None:
    clock = ManualClock(0)
    watch = Stopwatch(clock)
    watch.enter(Stage.LOAD)
    clock.now_s = 2
    watch.enter(Stage.DENOISE)
    clock.now_s = 5
    watch.enter(None)
    clock.now_s = 9
    timings = watch.clip_timings()
    assert (timings.load_s, timings.denoise_s, timings.encode_s, timings.total_s) == (2, 3, None, 9)


def test_a_stage_that_comes_again_adds_up() -> None:
    clock = ManualClock(0)
    watch = Stopwatch(clock)
    for _ in range(3):
        with watch.timing(Stage.FETCH):
            clock.now_s += 1
        clock.now_s += 10
    assert watch.seconds(Stage.FETCH) == 3


def test_a_log_line_sums_up_what_the_device_did() -> None:
    clock = ManualClock(0)
    watch = Stopwatch(clock)
    with watch.waiting():
        clock.now_s += 4
    for stage in (Stage.LOAD, Stage.TEXT, Stage.DENOISE, Stage.DECODE, Stage.ENCODE, Stage.UPLOAD):
        with watch.timing(stage):
            clock.now_s += 1
    assert watch.as_log() == {
        "wait_s": 4.0,
        "load_s": 1.0,
        "generate_s": 3.0,
        "encode_s": 1.0,
        "upload_s": 1.0,
        "total_s": 10.0,
    }


def test_a_wait_within_a_stage_is_not_counted_to_it() -> None:
    clock = ManualClock(0)
    watch = Stopwatch(clock)
    watch.enter(Stage.LOAD)
    clock.now_s += 2
    with watch.waiting():
        clock.now_s += 30
    clock.now_s += 1
    watch.enter(None)
    assert (watch.clip_timings().load_s, watch.as_log()["wait_s"]) == (3, 30)


def test_a_stage_that_begins_within_a_wait_outlasts_it() -> None:
    clock = ManualClock(0)
    watch = Stopwatch(clock)
    with watch.waiting():
        clock.now_s += 5
        watch.enter(Stage.LOAD)
        clock.now_s += 60
    clock.now_s += 1
    watch.enter(None)
    assert (watch.clip_timings().load_s, watch.as_log()["wait_s"]) == (61, 5)


def test_each_stage_that_begins_is_passed_on() -> None:
    entered: list[Stage | None] = []
    watch = Stopwatch(ManualClock(0), on_enter=entered.append)
    with watch.timing(Stage.FETCH):
        pass
    watch.enter(Stage.LOAD)
    with watch.waiting():
        pass
    assert entered == [Stage.FETCH, None, Stage.LOAD, Stage.QUEUE, Stage.LOAD]
