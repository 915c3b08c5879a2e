"""`phoenix stats` and `phoenix usage`: what the fleet did, and what each key has used."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Column, Table

from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import exit_on_error, format_bytes, format_seconds, out, print_json
from phoenix.clock import utc_now
from phoenix.contract.history import Percentiles, StatsFigures, StatsSeries, StatsStep, Usage

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TIME_FORMATS: Mapping[StatsStep, str] = {"minute": "%m-%d %H:%M", "hour": "%m-%d %H:%M", "day": "%Y-%m-%d"}


class StepChoice(StrEnum):
    """The values of `contract.history.StatsStep`, for the command line."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class GroupChoice(StrEnum):
    """The values of `contract.history.StatsBy`, for the command line."""

    QUEUE = "queue"
    MODEL = "model"


def read_span(text: str) -> timedelta:
    """A length of time: `90m`, `24h`, `30d`, `2w`. Raises `typer.BadParameter`."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise typer.BadParameter(f"{text!r} is no length of time; write 90m, 24h, 30d or 2w.", param_hint="--last")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


LastOption = Annotated[str, typer.Option("--last", metavar="SPAN", help="How far to look back: 90m, 24h, 30d, 2w.")]


def show_stats(
    last: LastOption = "24h",
    step: Annotated[StepChoice | None, typer.Option(help="Length of a period; one that suits if unset.")] = None,
    by: Annotated[GroupChoice | None, typer.Option(help="For each queue or model.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Show what the fleet did: jobs, waits, durations, failures, utilisation."""
    start = utc_now() - read_span(last)
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.stats(start=start, step=step.value if step else None, by=by.value if by else None)
        if as_json:
            print_json(found)
            return
        for series in found.series:
            out.print(f"{series.group or 'all'}, from {found.start.astimezone():%Y-%m-%d %H:%M}", style="bold")
            for line in stats_lines(series.total):
                out.print(f"  {line}")
            if series.points:
                out.print(points_table(series, found.step))
        if not found.series:
            out.print("Nothing happened.")


def show_usage(
    last: LastOption = "30d",
    owner: Annotated[
        str | None, typer.Option(help="Id of a key, or all; requires the key of an operator. Your own if unset.")
    ] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Show what keys have used: clips, seconds on devices, bytes."""
    start = utc_now() - read_span(last)
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.usage(start=start, owner=owner)
        if as_json:
            print_json(found)
            return
        out.print(usage_table(found) if found.totals else "Nothing was used.")


def stats_lines(total: StatsFigures) -> Iterator[str]:
    """Lines about a whole window. What was not measured has no line."""
    for name, text in _parts_of(total):
        if text:
            yield f"{name:<10} {text}"


def _parts_of(total: StatsFigures) -> Iterator[tuple[str, str]]:
    submitted = [f"{total.submitted:,} submitted"] if total.submitted or total.jobs else []
    yield "jobs", ", ".join([*submitted, *(f"{number:,} {state}" for state, number in total.jobs.items())])
    yield "errors", _counted(total.job_codes)
    yield "job", describe_percentiles(total.job_s)
    yield "wait", describe_percentiles(total.wait_s)
    yield "attempt", describe_percentiles(total.took_s)
    for stage, found in total.stages.items():
        yield f"  {stage}", describe_percentiles(found)
    memory = total.memory_bytes
    yield "memory", f"p50 {format_bytes(round(memory.p50))}, p95 {format_bytes(round(memory.p95))}" if memory else ""
    yield "failures", _counted(total.attempt_codes)
    yield "devices", f"{format_seconds(total.device_s)} in slots" if total.device_s else ""
    share, slots = total.utilisation, total.slots_mean or 0
    yield "slots", "" if share is None else f"{share:.0%} of {slots:.1f} occupied on average"
    mean = total.waiting_mean
    yield "waiting", "" if mean is None else f"{mean:.1f} tasks on average, {total.waiting_max} at most"


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {number:,}" for code, number in numbers.items())


def describe_percentiles(found: Percentiles | None) -> str:
    """The percentiles of a duration; empty if there are none."""
    if found is None:
        return ""
    parts = {"p50": found.p50, "p95": found.p95, "p99": found.p99}
    return ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in parts.items())


def points_table(series: StatsSeries, step: StatsStep) -> Table:
    """One line per period."""
    names = ("from", "submitted", "ended", "errors", "wait p95", "took p95", "busy")
    table = Table(*(Column(name, no_wrap=True) for name in names), box=None, pad_edge=False)
    for point in series.points:
        table.add_row(
            _format_time(point.at, step),
            str(point.submitted),
            str(sum(point.jobs.values()) or sum(point.attempts.values())),
            str(sum(point.job_codes.values()) or sum(point.attempt_codes.values())),
            format_seconds(point.wait_s and point.wait_s.p95),
            format_seconds(point.took_s and point.took_s.p95),
            "-" if point.utilisation is None else f"{point.utilisation:.0%}",
        )
    return table


def _format_time(at: datetime, step: StatsStep) -> str:
    # A day is a day in UTC.
    return f"{at if step == 'day' else at.astimezone():{_TIME_FORMATS[step]}}"


def usage_table(found: Usage) -> Table:
    """One line per key."""
    names = ("key", "jobs", "clips", "attempts", "on devices", "of workers", "bytes", "video")
    table = Table(*(Column(name, no_wrap=True) for name in names), box=None, pad_edge=False)
    for total in found.totals:
        table.add_row(
            total.owner_id,
            *_numbers((total.jobs, total.clips, total.attempts)),
            format_seconds(total.device_s),
            format_seconds(total.worker_s),
            format_bytes(total.output_bytes),
            format_seconds(total.video_s),
        )
    return table


def _numbers(numbers: Sequence[int]) -> Iterator[str]:
    yield from (f"{number:,}" for number in numbers)
