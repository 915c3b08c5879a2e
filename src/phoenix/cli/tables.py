"""Jobs, clips and models as tables and lines for people."""

from collections.abc import Iterable

from rich.table import Column, Table

from phoenix.cli.console import format_seconds, printable
from phoenix.clock import plain_number
from phoenix.contract import Clip, Job, JobState, Model, NumberRange

STATE_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "canceled": "dim",
    "expired": "red",
}


def jobs_table(jobs: Iterable[Job]) -> Table:
    """A table as wide as the terminal. Prompts get the remaining width, and ids are never cut."""
    kept = [Column(name, no_wrap=True) for name in ("state", "done", "created", "model")]
    table = Table(
        Column("job", no_wrap=True, min_width=30),
        *kept,
        Column("prompt", no_wrap=True, overflow="ellipsis", ratio=1),
        box=None,
        pad_edge=False,
        expand=True,
    )
    for job in jobs:
        table.add_row(
            job.id,
            _state(job),
            f"{job.progress:.0%}",
            f"{job.created_at.astimezone():%m-%d %H:%M}",
            job.model or "-",
            _title(job),
            style=STATE_STYLES[job.state.value],
        )
    return table


def job_lines(job: Job) -> list[str]:
    """Lines about a job, without its clips."""
    stages = {name.removesuffix("_s"): elapsed_s for name, elapsed_s in job.timings.model_dump().items()}
    lines = [
        f"{job.id}  {job.kind}  {_state(job)}  {job.progress:.0%}",
        f"  model     {job.model or '-'}",
        f"  created   {job.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
        f"  times     {', '.join(f'{stage} {format_seconds(elapsed_s)}' for stage, elapsed_s in stages.items())}",
    ]
    reason = printable(job.waiting_reason.detail) if job.waiting_reason else None
    if job.state is JobState.QUEUED:
        lines.append(f"  waiting   position {job.queue_position}, {reason or 'reason unknown'}")
    elif reason:
        lines.append(f"  waiting   {reason}")
    if not job.state.is_terminal:
        lines.append(f"  left      {format_seconds(job.eta_s)}")
    if job.output:
        size = f"{job.output.width}x{job.output.height}, " if job.output.width else ""
        lines.append(f"  output    {size}{format_seconds(job.output.duration_s)}, {job.output.size_bytes} bytes")
    if job.error:
        lines.append(f"  error     {job.error.code.value} ({job.error.stage.value}): {printable(job.error.message)}")
    return lines


def clips_table(clips: Iterable[Clip]) -> Table:
    """One line per clip, with its error instead of its prompt if it failed."""
    table = Table("clip", "state", "step", "tries", "seed", "time", "prompt", box=None, pad_edge=False)
    for clip in clips:
        table.add_row(
            str(clip.index),
            clip.state.value,
            f"{clip.step}/{clip.steps}",
            str(clip.attempt),
            str(clip.seed),
            format_seconds(clip.timings.total_s),
            printable(clip.error.message if clip.error else clip.prompt, 60),
            style=STATE_STYLES[clip.state.value],
        )
    return table


def models_table(models: Iterable[Model]) -> Table:
    """One line per model. Ids are never cut, because `--model` takes them; on a narrow terminal the lists wrap."""
    whole = [Column(name, no_wrap=True, overflow="ignore") for name in ("model", "served")]
    wrapping = [Column(name, overflow="fold") for name in ("sizes", "ratios", "fps", "seconds", "steps")]
    table = Table(*whole, *wrapping, box=None, pad_edge=False)
    for model in models:
        table.add_row(
            model.id,
            "yes" if model.is_served else "no",
            " ".join(model.resolutions),
            " ".join(model.aspect_ratios),
            _range(model.fps),
            _range(model.duration_s),
            _range(model.steps),
            style=None if model.is_served else "dim",
        )
    return table


def _state(job: Job) -> str:
    return "canceling" if job.cancel_requested and not job.state.is_terminal else job.state.value


def _title(job: Job) -> str:
    if not job.clips:
        return job.kind
    others = f" +{len(job.clips) - 1}" if len(job.clips) > 1 else ""
    return printable(job.clips[0].prompt, 80) + others


def _range(numbers: NumberRange) -> str:
    """`12-24 (16)` with the default in parentheses, or the only value."""
    if numbers.minimum == numbers.maximum:
        return plain_number(numbers.default)
    return f"{plain_number(numbers.minimum)}-{plain_number(numbers.maximum)} ({plain_number(numbers.default)})"
