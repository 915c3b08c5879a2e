"""`phoenix jobs attempts` and `phoenix jobs logs`: how the parts of a job were made, and what was logged meanwhile."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from phoenix.cli.connecting import ApiKeyOption, JobIdArgument, JsonOption, UrlOption, connect
from phoenix.cli.console import clip_number, exit_on_error, format_bytes, format_seconds, out, print_json, printable
from phoenix.contract.history import JobLogLine, TaskAttempt

_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "crashed": "red", "canceled": "dim"}
_LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}


def show_attempts(
    job_id: JobIdArgument, as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Show every attempt at every part of a job, with the seconds of each stage."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        attempts = phoenix.attempts(job_id)
        if as_json:
            print_json(attempts)
            return
        out.print(attempts_table(attempts) if attempts else "No worker has started the job.")
        for line in error_lines(attempts):
            out.print(Text(line, "red"))


def show_log(
    job_id: JobIdArgument,
    limit: Annotated[int, typer.Option(min=1, max=2000, help="How many of the newest lines to show.")] = 200,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Show what happened to a job, the newest lines last. An operator also sees the lines of workers."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        log = phoenix.log(job_id, limit=limit)
        if as_json:
            print_json(log)
            return
        if log.has_more:
            out.print("Earlier lines were left out.", style="dim")
        for line in log.data:
            out.print(Text(line_of(line), _LEVEL_STYLES.get(line.level, "")), soft_wrap=True)


def attempts_table(attempts: Sequence[TaskAttempt]) -> Table:
    """One line per attempt."""
    names = ("part", "try", "state", "waited", "took", "memory")
    table = Table(*(Column(name, no_wrap=True) for name in names), "stages", box=None, pad_edge=False)
    for attempt in attempts:
        took_s = (attempt.ended_at - attempt.started_at).total_seconds() if attempt.ended_at else None
        table.add_row(
            part_of(attempt.task, attempt.index),
            str(attempt.number),
            attempt.state,
            format_seconds(attempt.waited_s),
            format_seconds(took_s),
            "-" if attempt.peak_memory_bytes is None else format_bytes(attempt.peak_memory_bytes),
            ", ".join(f"{stage} {format_seconds(seconds)}" for stage, seconds in attempt.stages.items()),
            style=_STYLES.get(attempt.state),
        )
    return table


def error_lines(attempts: Sequence[TaskAttempt]) -> Iterator[str]:
    """A line per attempt that ended with an error."""
    for attempt in attempts:
        if attempt.error:
            part, error = part_of(attempt.task, attempt.index), attempt.error
            yield f"{part}, try {attempt.number}: {error.code.value} ({error.stage.value}): {printable(error.message)}"


def line_of(line: JobLogLine) -> str:
    """A line of the log: time, level, what happened, and its details."""
    about = [part_of(line.task or "render", line.index)] if line.task or line.index is not None else []
    about += [f"try {line.attempt}"] if line.attempt is not None else []
    details = [f"{name}={printable(str(value), 200)}" for name, value in _details_of(line)]
    at = f"{line.at.astimezone():%H:%M:%S}.{line.at.microsecond // 1000:03}"
    return "  ".join([at, f"{line.level:<7}", printable(line.message), *about, *details])


def _details_of(line: JobLogLine) -> Iterator[tuple[str, object]]:
    # The index of the clip is shown as a number that counts from 1.
    yield from (
        (name, value) for name, value in line.fields.items() if value not in (None, []) and name != "clip_index"
    )


def part_of(task: str, index: int | None) -> str:
    """`clip 1`, or the kind of a part that belongs to no clip. Takes have the numbers after the clips."""
    if index is None:
        return task
    return f"clip {clip_number(index)}" if task == "render" else f"{task} {clip_number(index)}"
