"""Jobs, clips and models as tables and lines for people."""

from collections.abc import Mapping, Sequence

from rich.table import Column, Table

from phoenix.cli.console import clip_number, format_bytes, format_seconds, printable, warning_lines
from phoenix.clock import plain_number
from phoenix.contract import (
    Artifact,
    Clip,
    Job,
    JobState,
    Model,
    ModelCondition,
    ModelList,
    NumberRange,
    QueueDepth,
    Worker,
)
from phoenix.contract.steering import AuditEntry, QueuedJob

STATE_STYLES = {
    "held": "yellow",
    "queued": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "canceled": "dim",
    "expired": "red",
}


_PROMPT_WIDTH = 20
"""The least width of a column with prompts."""
_GAP = 2
"""Characters between two columns."""


def fitting(
    names: Sequence[str], rows: Sequence[Mapping[str, str]], *, optional: Sequence[str], reserved: int, width: int
) -> list[str]:
    """The columns that fit into `width` with `reserved` characters after them. Leaves out the last of `optional` first.

    So no number and no id is cut, and the column that matters is there on a narrow terminal too.
    """
    kept = list(names)
    for name in reversed(optional):
        if sum(max(len(column), *(len(row[column]) for row in rows)) + _GAP for column in kept) + reserved > width:
            kept.remove(name)
    return kept


def with_prompts(names: Sequence[str], last: str = "prompt") -> Table:
    """A table as wide as the terminal, whose last column has prompts or names and gets the remaining width."""
    whole = [Column(name, no_wrap=True) for name in names]
    prompt = Column(last, no_wrap=True, overflow="ellipsis", ratio=1)
    return Table(*whole, prompt, box=None, pad_edge=False, expand=True)


def jobs_table(jobs: Sequence[Job], *, width: int, with_owner: bool = False) -> Table:
    """One line per job, with the prompt of its first clip. On a narrow terminal without the model and the time."""
    rows = [_job_cells(job) for job in jobs]
    names = ("job", *(("owner",) if with_owner else ()), "state", "done", "created", "model")
    names = fitting(names, rows, optional=("created", "model"), reserved=_PROMPT_WIDTH, width=width)
    table = with_prompts(names)
    for job, row in zip(jobs, rows, strict=True):
        table.add_row(*(row[name] for name in names), _title(job), style=STATE_STYLES[job.state.value])
    return table


def _job_cells(job: Job) -> dict[str, str]:
    """The cells of a job by column, without its prompt."""
    return {
        "job": job.id,
        "owner": job.owner_id or "-",
        "state": _state(job),
        "done": f"{job.progress:.0%}",
        "created": f"{job.created_at.astimezone():%m-%d %H:%M}",
        "model": job.model or "-",
    }


def artifacts_table(artifacts: Sequence[Artifact], *, width: int) -> Table:
    """One line per artifact, with the name of the uploaded file or the id of the job that made it."""
    rows = [_artifact_cells(artifact) for artifact in artifacts]
    names = ("artifact", "kind", "size", "type", "created")
    names = fitting(names, rows, optional=("created", "type"), reserved=_PROMPT_WIDTH, width=width)
    table = with_prompts(names, "file or job")
    for artifact, row in zip(artifacts, rows, strict=True):
        table.add_row(*(row[name] for name in names), printable(artifact.filename or artifact.job_id or "-", 80))
    return table


def _artifact_cells(artifact: Artifact) -> dict[str, str]:
    """The cells of an artifact by column, without its name."""
    return {
        "artifact": artifact.id,
        "kind": artifact.kind.value,
        "size": format_bytes(artifact.size_bytes),
        "type": artifact.media_type,
        "created": f"{artifact.created_at.astimezone():%m-%d %H:%M}",
    }


def job_lines(job: Job) -> list[str]:
    """Lines about a job, without its clips."""
    stages = {name.removesuffix("_s"): elapsed_s for name, elapsed_s in job.timings.model_dump().items()}
    lines = [
        f"{job.id}  {job.kind}  {_state(job)}  {job.progress:.0%}",
        f"  model     {job.model or '-'}",
        f"  created   {job.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
        f"  times     {', '.join(f'{stage} {format_seconds(elapsed_s)}' for stage, elapsed_s in stages.items())}",
    ]
    if job.tags:
        lines.insert(1, f"  tags      {printable(', '.join(job.tags))}")
    if job.title or job.favorite:
        lines.insert(1, f"  title     {printable(job.title or '-')}{' (favorite)' if job.favorite else ''}")
    owner_id = job.owner_id if job.words_hidden else None
    others = {"owner": owner_id, "edit of": job.edited_from, "draft of": job.draft_of, "draft": job.draft_job_id}
    lines += [f"  {name:<9} {job_id}" for name, job_id in others.items() if job_id]
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
    lines.extend(f"  warning   {line}" for line in warning_lines(job))
    return lines


def clips_table(clips: Sequence[Clip], *, width: int) -> Table:
    """One line per clip, with its error instead of its prompt if it failed."""
    rows = [_clip_cells(clip) for clip in clips]
    names = ("clip", "state", "step", "tries", "seed", "time")
    names = fitting(names, rows, optional=("time", "tries", "seed"), reserved=_PROMPT_WIDTH, width=width)
    table = with_prompts(names)
    for clip, row in zip(clips, rows, strict=True):
        text = printable(clip.error.message if clip.error else clip.prompt, 200)
        table.add_row(*(row[name] for name in names), text, style=STATE_STYLES[clip.state.value])
    return table


def _clip_cells(clip: Clip) -> dict[str, str]:
    """The cells of a clip by column, without its prompt."""
    return {
        "clip": str(clip_number(clip.index)),
        "state": "reused" if clip.reused else clip.state.value,
        "step": f"{clip.step}/{clip.steps}",
        "tries": str(clip.attempt),
        "seed": str(clip.seed),
        "time": format_seconds(clip.timings.total_s),
    }


_LISTS = ("sizes", "ratios")


def queues_table(queues: Sequence[QueueDepth]) -> Table:
    """One line per queue."""
    table = Table("queue", *(Column(name, justify="right") for name in ("waits", "runs", "slots", "oldest")), box=None)
    for queue in queues:
        oldest = "-" if queue.oldest_wait_s is None else format_seconds(queue.oldest_wait_s)
        table.add_row(queue.name, str(queue.waiting), str(queue.running), str(queue.slots), oldest)
    return table


def queued_jobs_table(jobs: Sequence[QueuedJob], *, width: int) -> Table:
    """One line per job, with the reason why it waits. On a narrow terminal without the model and the priority."""
    rows = [_queued_cells(job) for job in jobs]
    names = fitting(
        ("job", "owner", "tasks", "left", "priority", "model"),
        rows,
        optional=("priority", "model"),
        reserved=_PROMPT_WIDTH,
        width=width,
    )
    table = with_prompts(names, "waits because")
    for job, row in zip(jobs, rows, strict=True):
        reason = job.waiting_reason.detail if job.waiting_reason else "another part of it runs"
        table.add_row(*(row[name] for name in names), printable(reason, 200))
    return table


def _queued_cells(job: QueuedJob) -> dict[str, str]:
    """The cells of a job by column, without its reason."""
    return {
        "job": job.job_id,
        "owner": job.owner_id,
        "tasks": str(job.tasks),
        "left": format_seconds(job.eta_s),
        "priority": "front" if job.moved_to_front else job.priority,
        "model": job.model or "-",
    }


def workers_table(workers: Sequence[Worker], *, width: int) -> Table:
    """One line per worker, with its fault or its models in memory at the end. On a narrow terminal without the host."""
    rows = [_worker_cells(worker) for worker in workers]
    names = ("worker", "state", "runs", "slots", "queues", "device", "host")
    names = fitting(names, rows, optional=("device", "queues", "host"), reserved=_PROMPT_WIDTH, width=width)
    table = with_prompts(names, "models in memory, or what is wrong")
    for worker, row in zip(workers, rows, strict=True):
        loaded = [f"{model} (unloading)" if model in worker.unloading else model for model in worker.models]
        last = printable(worker.fault, 200) if worker.fault else ", ".join(loaded) or "-"
        table.add_row(*(row[name] for name in names), last, style="red" if worker.state == "unfit" else None)
    return table


def _worker_cells(worker: Worker) -> dict[str, str]:
    """The cells of a worker by column, without its models."""
    return {
        "worker": worker.id,
        "state": worker.state,
        "runs": str(len(worker.running) + len(worker.finishing)),
        "slots": str(worker.slots),
        "queues": " ".join(worker.queues),
        "device": worker.device,
        "host": f"{worker.host}:{worker.pid}" if worker.host else "-",
    }


def audit_table(entries: Sequence[AuditEntry], *, width: int) -> Table:
    """One line per act, with its details at the end. On a narrow terminal without the owner and the address."""
    rows = [_audit_cells(entry) for entry in entries]
    names = ("at", "who", "action", "target", "outcome", "address", "owner")
    names = fitting(names, rows, optional=("outcome", "address", "owner"), reserved=_PROMPT_WIDTH, width=width)
    table = with_prompts(names, "details")
    for entry, row in zip(entries, rows, strict=True):
        details = ", ".join(f"{name} {value}" for name, value in entry.details.items())
        table.add_row(*(row[name] for name in names), printable(details or "-", 200))
    return table


def _audit_cells(entry: AuditEntry) -> dict[str, str]:
    """The cells of an act by column, without its details."""
    return {
        "at": f"{entry.at.astimezone():%m-%d %H:%M:%S}",
        "who": printable(entry.actor or f"{entry.account} (shell)"),
        "action": printable(entry.action),
        "target": printable(entry.target, 40),
        "outcome": printable(entry.outcome),
        "address": printable(entry.address or "-"),
        "owner": printable(entry.owner or "-"),
    }


def models_table(models: Sequence[Model], *, width: int) -> Table:
    """One line per model. Ids and numbers are never cut, and lists wrap; on a narrow terminal columns are left out."""
    rows = [_model_cells(model) for model in models]
    # A list takes the width of its longest word.
    words = [{**row, **{name: max(row[name].split(), key=len) for name in _LISTS}} for row in rows]
    names = ("model", "served", *_LISTS, "fps", "seconds", "steps")
    names = fitting(names, words, optional=("fps", "seconds", "steps", "ratios"), reserved=-_GAP, width=width)
    lists = {name: Column(name, overflow="fold") for name in _LISTS}
    columns = [lists.get(name, Column(name, no_wrap=True, overflow="ignore")) for name in names]
    table = Table(*columns, box=None, pad_edge=False)
    for model, row in zip(models, rows, strict=True):
        table.add_row(*(row[name] for name in names), style=None if model.is_served else "dim")
    return table


def why_not_served(models: Sequence[Model]) -> list[str]:
    """A line per reason why models are not served, with their ids."""
    return _by_text({model.id: printable(model.unserved_reason or "") for model in models})


def what_models_take(models: Sequence[Model]) -> list[str]:
    """A line per list of conditions, tiers and adapters, with the ids of the models that take them."""
    return _by_text({model.id: _what_it_takes(model) for model in models})


def postprocessor_lines(found: ModelList) -> list[str]:
    """A line per upscaler, interpolator and lip model."""
    scales = [f"upscaler {each.id}: up to {each.factor} times as wide and as high" for each in found.upscalers]
    rates = [f"interpolator {each.id}: {_factors(each.factors)}" for each in found.interpolators]
    lips = [f"lip model {each.id}: {each.title}" for each in found.lip_models]
    return scales + rates + lips


def _by_text(texts: Mapping[str, str]) -> list[str]:
    """A line per text that is not empty, with the ids that have it."""
    ids: dict[str, list[str]] = {}
    for model_id, text in texts.items():
        if text:
            ids.setdefault(text, []).append(model_id)
    return [f"{', '.join(same)}: {text}" for text, same in ids.items()]


def _what_it_takes(model: Model) -> str:
    """Empty for a model that takes only a prompt, in one tier."""
    lists = {
        "takes": [_role(rule) for rule in model.conditions],
        "tiers": [str(tier.quality) for tier in model.tiers] if len(model.tiers) > 1 else [],
        "adapters": [adapter.id for adapter in model.adapters],
    }
    return "; ".join(f"{name} {', '.join(values)}" for name, values in lists.items() if values)


def _role(rule: ModelCondition) -> str:
    if rule.minimum:
        return f"{rule.role} (needed)"
    return f"{rule.role} (up to {rule.maximum})" if rule.maximum > 1 else rule.role


def _factors(factors: Sequence[int] | None) -> str:
    return "any higher frame rate" if factors is None else f"{', '.join(map(str, factors))} times the frame rate"


def _model_cells(model: Model) -> dict[str, str]:
    return {
        "model": model.id,
        "served": "yes" if model.is_served else "no",
        "sizes": " ".join(model.resolutions),
        "ratios": " ".join(model.aspect_ratios),
        "fps": _range(model.fps),
        "seconds": _range(model.duration_s),
        "steps": _range(model.steps),
    }


def _state(job: Job) -> str:
    return "canceling" if job.cancel_requested and not job.state.is_terminal else job.state.value


def _title(job: Job) -> str:
    if job.title:
        return printable(job.title, 80)
    if not job.clips:
        return job.kind
    others = f" +{len(job.clips) - 1}" if len(job.clips) > 1 else ""
    return printable(job.clips[0].prompt, 80) + others


def _range(numbers: NumberRange) -> str:
    """`12-24 (16)` with the default in parentheses, or the only value; two decimals at most."""
    least, most, default = (
        plain_number(round(value, 2)) for value in (numbers.minimum, numbers.maximum, numbers.default)
    )
    return default if numbers.minimum == numbers.maximum else f"{least}-{most} ({default})"
