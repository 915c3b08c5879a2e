"""The body of a webhook. Its headers and signature are `api.webhooks`' part."""

from phoenix.contract.events import DurableEvent, JobExpired, JobFailed, JobSucceeded
from phoenix.contract.jobs import JobError
from phoenix.contract.webhooks import WebhookData, WebhookPayload
from phoenix.jobs.tables import JobRow

MAX_PAYLOAD_BYTES = 20_000
_LONGEST_MESSAGE = 2000


def make_payload(job: JobRow, event: DurableEvent) -> WebhookPayload:
    """The body to send: under 20 kB, if need be without the metadata."""
    data = WebhookData(
        job_id=job.id,
        seq=event.seq,
        kind=job.kind,  # pyright: ignore[reportArgumentType]
        state=job.state,
        metadata=job.options.get("metadata") or {},
        output=event.output if isinstance(event, JobSucceeded) else None,
        error=_shortened(event.error) if isinstance(event, JobFailed | JobExpired) else None,
        timings=event.timings if isinstance(event, JobSucceeded) else None,
    )
    payload = WebhookPayload.model_validate({"type": event.type, "timestamp": event.at, "data": data})
    if len(payload.model_dump_json().encode()) < MAX_PAYLOAD_BYTES:
        return payload
    return payload.model_copy(update={"data": data.model_copy(update={"metadata": {}})})


def _shortened(error: JobError) -> JobError:
    return error.model_copy(update={"message": error.message[:_LONGEST_MESSAGE]})
