"""The spans of an attempt: the claim, each stage, and around them the attempt itself."""

from phoenix.contract import ResolvedReel
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.lifecycle import TaskKind
from phoenix.telemetry.spans import TraceSpan, start_span, to_epoch_ns
from phoenix.worker.records.stage_timeline import StageTimeline


def start_attempt_span(claim: Claim, claim_span_s: tuple[float, float]) -> TraceSpan:
    """Starts the span of an attempt, from the beginning of its claim, in the trace of the request that made the job."""
    began_s, ended_s = claim_span_s
    is_clip = claim.kind is TaskKind.RENDER
    span = start_span(
        f"{claim.kind.value} task",
        parent=claim.traceparent,
        kind="consumer",
        start_ns=to_epoch_ns(began_s),
        attributes={
            "phoenix.job_id": claim.job_id,
            "phoenix.task_id": claim.task_id,
            "phoenix.attempt": claim.attempt,
            "phoenix.worker_id": claim.worker_id,
            "phoenix.clip_index": claim.position if is_clip else None,
            "phoenix.model": claim.request.model if is_clip and isinstance(claim.request, ResolvedReel) else None,
        },
    )
    _add(span, "claim", began_s, ended_s)
    return span


def end_attempt_span(span: TraceSpan, timeline: StageTimeline, *, outcome: str, error: str | None) -> None:
    """Ends the span of an attempt, with a span for each stage."""
    if span.traceparent is None:
        return
    for stage in timeline.spans():
        _add(span, stage.stage.value, stage.began_s, stage.ended_s)
    span.set({"phoenix.outcome": outcome, "phoenix.error": error})
    if error is not None:
        span.fail(error)
    span.end()


def _add(span: TraceSpan, name: str, began_s: float, ended_s: float) -> None:
    if span.traceparent is not None:
        child = start_span(name, parent=span.traceparent, start_ns=to_epoch_ns(began_s))
        child.end(at_ns=to_epoch_ns(ended_s))
