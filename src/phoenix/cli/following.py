"""Shows the events of a job live: a bar per clip on a terminal, a line per event in files and pipes."""

from contextlib import closing
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from phoenix.cli.console import clip_number, format_seconds, printable
from phoenix.client import Event, Phoenix
from phoenix.clock import in_seconds
from phoenix.contract import (
    Clip,
    ClipFailed,
    ClipPreview,
    ClipProgress,
    ClipRetrying,
    ClipStarted,
    ClipState,
    ClipSucceeded,
    Job,
    JobQueueMoved,
    JobSnapshot,
    JobSucceeded,
    WaitingCode,
    WaitingReason,
)

MANY_CLIPS = 12
"""With more clips, only running clips have a bar, because a terminal has 24 lines."""


class Display(Protocol):
    """Shows the events of one job inside a `with` block."""

    def __enter__(self) -> object: ...
    def __exit__(self, *failure: object) -> None: ...
    def show(self, event: Event) -> None: ...


def follow(phoenix: Phoenix, job_id: str, console: Console, *, owner: str | None = None) -> Job:
    """Shows the job on `console` until it ends, and returns its final state. `owner`: if the caller does not own it."""
    display: Display = BarDisplay(console) if console.is_terminal else LineDisplay(console)
    with display, closing(phoenix.watch(job_id, owner=owner)) as events:
        for event in events:
            display.show(event)
    return phoenix.get_job(job_id, owner=owner)


class LineDisplay:
    """Output for files and pipes: one line per event."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_tenths = 0
        self._shown_wait: str | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *failure: object) -> None:
        return None

    def show(self, event: Event) -> None:
        if isinstance(event, ClipProgress):
            tenths = int(event.job_progress * 10)
            if tenths > self._shown_tenths:
                self._shown_tenths = tenths
                left = f", {format_seconds(event.job_eta_s)} left" if event.job_eta_s is not None else ""
                self._console.print(f"{event.job_progress:.0%} done{left}")
        elif isinstance(event, JobQueueMoved) and _describe_wait(event) == self._shown_wait:
            return
        elif line := describe(event):
            self._console.print(line)
        if isinstance(event, JobSnapshot | JobQueueMoved):
            self._shown_wait = _describe_wait(event.job if isinstance(event, JobSnapshot) else event)


def describe(event: Event) -> str | None:
    """The text of an event. A snapshot also has a line per running clip. None for events that are too frequent."""
    match event:
        case JobSnapshot(job=job):
            running = [
                f"clip {clip_number(clip.index)}: started" for clip in job.clips if clip.state is ClipState.RUNNING
            ]
            wait = [text] if (text := _describe_wait(job)) else []
            return "\n".join(
                [f"{job.id} {job.state.value}, {_count(job.clips)}, {job.progress:.0%} done", *wait, *running]
            )
        case JobQueueMoved():
            return _describe_wait(event)
        case ClipStarted() | ClipSucceeded() | ClipRetrying() | ClipFailed():
            return f"clip {clip_number(event.clip_index)}: {describe_clip(event)}"
        case ClipProgress() | ClipPreview():
            return None
        case JobSucceeded():
            return "succeeded, 100% done"
        case _:
            return event.type.removeprefix("job.")


def _describe_wait(waiting: Job | JobQueueMoved) -> str | None:
    """What the job waits for. None if a part of it advances, and once it has ended."""
    reason = printable(waiting.waiting_reason.detail) if waiting.waiting_reason else None
    if waiting.queue_position is None:
        return f"waiting: {reason}" if reason else None
    return f"position {waiting.queue_position} in the queue" + (f": {reason}" if reason else "")


def _count(clips: list[Clip]) -> str:
    return "1 clip" if len(clips) == 1 else f"{len(clips)} clips"


def describe_clip(event: ClipStarted | ClipSucceeded | ClipRetrying | ClipFailed) -> str:
    """What happened to the clip, without its index."""
    match event:
        case ClipStarted():
            return "started" if event.attempt == 1 else f"started, attempt {event.attempt}"
        case ClipSucceeded():
            return "reused" if event.reused else "done"
        case ClipRetrying():
            return f"retry in {in_seconds(event.retry_in_s)}, {printable(event.reason.message)}"
        case ClipFailed():
            return f"failed, {printable(event.error.message)}"


class BarDisplay:
    """Output for terminals: a progress bar for the job and for each clip."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TextColumn("{task.fields[note]}", markup=False, style="dim"),
            TimeElapsedColumn(),
            console=console,
        )
        self._job_bar: TaskID | None = None
        self._clips: dict[int, TaskID] = {}
        self._shown_reason: WaitingReason | None = None

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *failure: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case JobSnapshot():
                self._show_job(event.job)
            case JobQueueMoved():
                self._show_wait(event)
            case ClipProgress():
                self._show_clip(event.clip_index, event.progress, f"step {event.step}/{event.steps}")
                left = f"{format_seconds(event.job_eta_s)} left" if event.job_eta_s is not None else ""
                self._update_job(left, event.job_progress)
            case ClipSucceeded():
                self._show_clip(event.clip_index, 1, describe_clip(event), is_running=False)
                self._update_job("", event.progress)
            case ClipStarted() | ClipRetrying() | ClipFailed():
                is_running = isinstance(event, ClipStarted)
                self._show_clip(event.clip_index, 0, describe_clip(event), is_running=is_running)
            case JobSucceeded():
                self._update_job("succeeded", 1)
            case _:
                self._update_job(describe(event) or "")

    def _show_job(self, job: Job) -> None:
        if self._job_bar is None:
            self._job_bar = self._progress.add_task(job.kind, total=1, note="")
            self._clips = {clip.index: self._add_clip(clip, len(job.clips)) for clip in job.clips}
        self._update_job(job.state.value, job.progress)
        if not job.state.is_terminal:
            self._show_wait(job)
        for clip in job.clips:
            self._show_clip(clip.index, clip.progress, clip.state.value, is_running=clip.state is ClipState.RUNNING)

    def _show_wait(self, waiting: Job | JobQueueMoved) -> None:
        reason = waiting.waiting_reason
        if reason is not None or waiting.queue_position is not None:
            self._update_job("waiting" if waiting.queue_position is None else f"position {waiting.queue_position}")
        if reason is not None and reason.code is not WaitingCode.AHEAD and reason != self._shown_reason:
            # Above the bars: a sentence does not fit into the line of a bar.
            self._progress.console.print(printable(reason.detail))
        self._shown_reason = reason

    def _add_clip(self, clip: Clip, count: int) -> TaskID:
        is_visible = count <= MANY_CLIPS
        return self._progress.add_task(
            f"{clip_number(clip.index):>3} {printable(clip.prompt, 32):32}", total=1, note="", visible=is_visible
        )

    def _show_clip(self, index: int, fraction: float, note: str, *, is_running: bool = True) -> None:
        task = self._clips.get(index)
        if task is not None:
            is_visible = is_running or len(self._clips) <= MANY_CLIPS
            self._progress.update(task, completed=fraction, note=note, visible=is_visible)

    def _update_job(self, note: str, fraction: float | None = None) -> None:
        if self._job_bar is not None:
            self._progress.update(self._job_bar, completed=fraction, note=note)
