"""Webhooks by the Standard Webhooks specification: the payload, and each delivery as its owner sees it."""

from typing import Literal

from pydantic import Field

from phoenix.contract.jobs import JobError, JobOutput, JobState, JobTimings
from phoenix.contract.wire_types import JobKind, Timestamp, View, WebhookEventType


class WebhookData(View):
    """The job at the event. `GET /v1/jobs/{job_id}` has the rest."""

    job_id: str
    seq: int = Field(description="Number of the event in the job's log.")
    kind: JobKind
    state: JobState
    metadata: dict[str, str] = Field(description="The metadata of the job; empty if the body would be too long.")
    output: JobOutput | None = None
    error: JobError | None = None
    timings: JobTimings | None = None


class WebhookPayload(View):
    """The body of a webhook. Its headers are `webhook-id`, `webhook-timestamp` and `webhook-signature`."""

    type: WebhookEventType
    timestamp: Timestamp
    data: WebhookData


class WebhookDelivery(View):
    """The delivery of one webhook, over all of its tries."""

    id: str = Field(description="The `webhook-id` of every try.", examples=["whd_01kag3e9zq4f7w5m8x2c6b0n1d"])
    job_id: str
    seq: int
    type: WebhookEventType
    url: str
    state: Literal["pending", "succeeded", "failed"]
    attempts: int
    next_attempt_at: Timestamp | None = Field(default=None, description="Null once no further try follows.")
    last_status: int | None = Field(
        default=None, description="HTTP status of the last response; null if there was no response."
    )
    last_error: str | None = None
    created_at: Timestamp
    finished_at: Timestamp | None = None


class WebhookDeliveryPage(View):
    """A page of deliveries, newest first."""

    data: list[WebhookDelivery]
    has_more: bool
    next_cursor: str | None = Field(default=None, description="Pass it as `cursor` to get the next page.")


class WebhookSecret(View):
    """The secret that signs webhooks. For a day after a rotation, the previous secret signs them as well."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    created_at: Timestamp
    previous_valid_until: Timestamp | None = None
