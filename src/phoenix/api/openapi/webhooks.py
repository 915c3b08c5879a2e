"""The `webhooks` of the document. Receivers can generate types and handlers from them."""

from typing import Any

from phoenix.api.openapi.postprocess import EXAMPLES, Json
from phoenix.contract import WebhookPayload

PAYLOADS = (WebhookPayload,)
"""Types that the document needs in addition to the types of the routes."""

_SIGNED_HEADERS = {
    "webhook-id": "Id of the delivery: the same at every try, so that receivers can recognise duplicates.",
    "webhook-timestamp": "Unix time of the try, in seconds. Refuse webhooks older than five minutes.",
    "webhook-signature": "`v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`; twice after a rotation.",
}
_CAUSE_HEADERS = {
    "X-Request-ID": "Id of the request that made the job. Not signed.",
    "traceparent": "The trace of the request that made the job, if it had one. Not signed.",
}
_EVENTS = {
    "job.awaiting_approval": "The draft of a job waits for its approval",
    "job.succeeded": "A job has succeeded",
    "job.failed": "A job has failed",
    "job.canceled": "A job was canceled",
    "job.expired": "A job has waited too long",
}
_ERRORS: dict[str, Json] = {
    "failed": {"code": "GPU_OOM", "message": "Out of memory.", "retriable": True, "stage": "denoise", "clip_index": 0},
    "expired": {
        "code": "TIMEOUT",
        "message": "No worker was free in time.",
        "retriable": True,
        "stage": "queue",
        "clip_index": None,
    },
}


def describe_webhooks() -> Json:
    """One entry for each event that is sent as a webhook."""
    return {name: {"post": _operation(name)} for name in _EVENTS}


def _operation(name: str) -> Json:
    return {
        "tags": ["webhooks"],
        "summary": _EVENTS[name],
        "description": "Sent to the `webhook` of the job, by the Standard Webhooks specification.",
        "operationId": f"on_{name.replace('.', '_')}",
        "parameters": [
            *(_header(header, text, is_required=True) for header, text in _SIGNED_HEADERS.items()),
            *(_header(header, text, is_required=False) for header, text in _CAUSE_HEADERS.items()),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/WebhookPayload"},
                    "examples": {"example": {"value": _example(name)}},
                }
            },
        },
        "responses": {
            "2XX": {"description": "Received."},
            "410": {"description": "The receiver wants no more webhooks: nothing more is sent to this URL."},
            "default": {"description": "Retried, up to ten tries in three days; `Retry-After` is honoured."},
        },
        "security": [],
    }


def _header(name: str, description: str, *, is_required: bool) -> Json:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "required": is_required, "description": description, "schema": schema}


def _example(name: str) -> Any:
    """An example payload: a succeeded job with its output, an unsuccessful job with the reason."""
    succeeded: Json = EXAMPLES["WebhookPayload"]
    state = "held" if name == "job.awaiting_approval" else name.removeprefix("job.")
    data = {**succeeded["data"], "state": state}
    if state != "succeeded":
        data |= {"output": None, "timings": None, "error": _ERRORS.get(state)}
    return {**succeeded, "type": name, "data": data}
