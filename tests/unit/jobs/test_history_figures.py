"""Which period counts what: the periods of an attempt, of a job and of a sample, and the classes of shapes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from builders import make_reel
from phoenix.jobs.history.figures import (
    ALL_TIME_S,
    DAY_S,
    EPOCH,
    EVERYTHING,
    HOUR_S,
    MINUTE_S,
    Figures,
    QueueSample,
    StatsKey,
    add_up,
    spread,
    spread_sample,
    start_of,
)
from phoenix.jobs.history.measurements import Measurement, shape_of

AT = datetime(2026, 1, 31, 12, 34, 56, tzinfo=UTC)
CLIP = Measurement(
    subject="task",
    name="gpu",
    outcome="succeeded",
    model="wan",
    shape="480p-81",
    is_clip=True,
    took_s=10.0,
    waited_s=2.0,
    stages={"queue": 1.0, "text": 1.0, "denoise": 6.0, "decode": 1.0, "encode": 1.0},
)


@pytest.mark.parametrize(
    ("resolution_s", "starts_at"),
    [
        (MINUTE_S, datetime(2026, 1, 31, 12, 34, tzinfo=UTC)),
        (HOUR_S, datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (DAY_S, datetime(2026, 1, 31, tzinfo=UTC)),
        (ALL_TIME_S, EPOCH),
    ],
)
def test_a_period_starts_at_a_whole_minute_hour_or_day_in_utc(resolution_s: int, starts_at: datetime) -> None:
    assert start_of(AT, resolution_s) == starts_at


def test_only_the_figures_of_all_time_have_the_shape() -> None:
    keys = [key for key, _ in spread(CLIP, AT)]

    assert {key.resolution_s: key.shape for key in keys} == {MINUTE_S: "", HOUR_S: "", DAY_S: "", ALL_TIME_S: "480p-81"}


def test_the_seconds_on_a_device_are_those_of_text_steps_and_decoding() -> None:
    figures = dict(spread(CLIP, AT))[StatsKey(MINUTE_S, start_of(AT, MINUTE_S), "task", "gpu", "wan")]

    assert (figures.counts["device_s"], figures.counts["worker_s"]) == (8.0, 10.0)


def test_a_failed_attempt_counts_its_wait_and_its_code_but_no_duration() -> None:
    failed = replace(CLIP, outcome="failed", code="GPU_OOM")

    (_, figures), *_ = spread(failed, AT)

    assert figures.counts["code:GPU_OOM"] == 1
    assert set(figures.sketches) == {"waited", "stage:queue"}


def test_a_submission_counts_in_the_period_of_the_submission() -> None:
    job = Measurement("job", "reel", "succeeded", model="wan", created_at="2026-01-30T23:59:00+00:00", took_s=9.0)

    found = add_up(list(spread(job, AT)))

    submitted = {key.starts_at.day for key, figures in found.items() if "submitted" in figures.counts}
    ended = {key.starts_at.day for key, figures in found.items() if "outcome:succeeded" in figures.counts}
    assert (submitted, ended) == ({30}, {31, 1})


def test_samples_of_a_queue_add_up_to_averages_and_keep_the_maximum() -> None:
    samples = [QueueSample("gpu", waiting, 1, 2, 15.0, share) for waiting, share in ((4, 0.5), (2, 0.9))]

    found = add_up([part for sample in samples for part in spread_sample(sample, AT)])

    figures = found[StatsKey(HOUR_S, start_of(AT, HOUR_S), "queue", "gpu")]
    assert figures.counts == {
        "sampled_s": 30.0,
        "max_waiting": 4,
        "waiting_s": 90.0,
        "running_s": 30.0,
        "slots_s": 60.0,
        "max_memory_share": 0.9,
    }


def test_what_a_chart_of_everything_reads_is_one_row_for_each_period() -> None:
    job = Measurement("job", "reel", "succeeded", model="wan", took_s=9.0)
    parts = [*spread(CLIP, AT), *spread(job, AT), *spread_sample(QueueSample("gpu", 4, 1, 2, 15.0), AT)]

    found = [(key, figures) for key, figures in add_up(parts).items() if key.subject == EVERYTHING]

    assert [key.resolution_s for key, _ in found] == [MINUTE_S, HOUR_S, DAY_S]
    _, figures = found[0]
    assert (figures.counts["task:outcome:succeeded"], figures.counts["job:outcome:succeeded"]) == (1, 1)
    assert (figures.counts["queue:slots_s"], figures.counts["max_waiting"]) == (30.0, 4)
    assert (figures.sketches["task:took"].count, figures.sketches["job:took"].total) == (1, 9.0)


def test_figures_survive_json() -> None:
    figures = Figures({"device_s": 1.5})
    figures.observe("took", 3.0)

    assert Figures.from_document(figures.as_document()) == figures


@pytest.mark.parametrize(
    ("width", "height", "num_frames", "shape"),
    [(832, 480, 81, "480p-81"), (480, 832, 80, "480p-81"), (1280, 720, 200, "720p-more"), (3840, 2160, 1, "large-16")],
)
def test_shapes_are_few_for_any_request(width: int, height: int, num_frames: int, shape: str) -> None:
    clip = make_reel("a fox").clips[0].model_copy(update={"width": width, "height": height, "num_frames": num_frames})

    assert shape_of(clip) == shape
