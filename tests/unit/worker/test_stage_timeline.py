"""When the stages of an attempt began and ended."""

from phoenix.errors import Stage
from phoenix.worker.records.stage_timeline import MAX_SPANS, StageSpan, StageTimeline


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_stage_ends_when_the_next_begins_and_adds_up_when_it_returns() -> None:
    clock = FakeClock()
    timeline = StageTimeline(clock)
    for stage, lasts_s in ((Stage.LOAD, 2.0), (Stage.QUEUE, 1.0), (Stage.LOAD, 3.0), (None, 5.0)):
        timeline.enter(stage)
        clock.now_s += lasts_s

    assert timeline.seconds() == {"load": 5.0, "queue": 1.0}
    assert timeline.spans() == (
        StageSpan(Stage.LOAD, 0.0, 2.0),
        StageSpan(Stage.QUEUE, 2.0, 3.0),
        StageSpan(Stage.LOAD, 3.0, 6.0),
    )


def test_the_current_stage_counts_until_now() -> None:
    clock = FakeClock()
    timeline = StageTimeline(clock)
    timeline.enter(Stage.ENCODE)
    clock.now_s = 1.5

    assert timeline.seconds() == {"encode": 1.5}


def test_spans_are_bounded_and_seconds_are_complete() -> None:
    clock = FakeClock()
    timeline = StageTimeline(clock)
    for _ in range(MAX_SPANS + 10):
        timeline.enter(Stage.DENOISE)
        clock.now_s += 1

    assert len(timeline.spans()) == MAX_SPANS
    assert timeline.seconds() == {"denoise": MAX_SPANS + 10.0}
