"""Attempts, log lines, statistics and usage as the command line shows them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from phoenix.cli.history.fleet_history import read_span, stats_lines
from phoenix.cli.history.job_history import error_lines, line_of, part_of
from phoenix.contract import JobError
from phoenix.contract.history import JobLogLine, LogSource, Percentiles, StatsFigures, TaskAttempt
from phoenix.errors import FailureCode, Stage

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOOK = Percentiles(count=3, mean=4.0, p50=4.0, p95=65.0, p99=70.0)


@pytest.mark.parametrize(
    ("text", "span"),
    [("90m", timedelta(minutes=90)), ("24h", timedelta(days=1)), ("30d", timedelta(days=30)), ("2w", timedelta(14))],
)
def test_a_length_of_time_is_read(text: str, span: timedelta) -> None:
    assert read_span(text) == span


@pytest.mark.parametrize("text", ["", "0d", "5", "5y", "-1h", "1.5h"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 90m"):
        read_span(text)


def test_clips_count_from_one_for_people() -> None:
    assert (part_of("render", 0), part_of("segment", 0), part_of("assemble", None)) == (
        "clip 1",
        "segment 1",
        "assemble",
    )


def test_an_attempt_with_an_error_has_a_line() -> None:
    error = JobError(code=FailureCode.GPU_OOM, message="no memory", retriable=True, stage=Stage.DENOISE)
    attempt = TaskAttempt(
        task="render",
        index=1,
        number=2,
        state="failed",
        worker_id=None,
        waited_s=0,
        started_at=AT,
        ended_at=AT,
        stages={},
        peak_memory_bytes=None,
        error=error,
    )

    assert list(error_lines([attempt])) == ["clip 2, try 2: GPU_OOM (denoise): no memory"]


def test_a_line_of_the_log_has_its_details_without_empty_ones() -> None:
    fields = {"model": "wan", "error": None, "checks": []}
    line = JobLogLine(
        at=AT, level="info", source=LogSource.EVENT, message="clip.started", index=0, attempt=1, fields=fields
    )

    assert line_of(line).split("  ", 1)[1] == "info     clip.started  clip 1  try 1  model=wan"


def test_what_was_not_measured_has_no_line() -> None:
    figures = StatsFigures(submitted=3, jobs={"succeeded": 2}, took_s=TOOK)

    assert list(stats_lines(figures)) == [
        "jobs       3 submitted, 2 succeeded",
        "attempt    p50 4.0 s, p95 1:05, p99 1:10",
    ]
