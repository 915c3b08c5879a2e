"""What servers send rather than answer, as the document's `webhooks`: a receiver's types and handlers come of it."""

from typing import Any

from phoenix.api.openapi_finish import EXAMPLES, Json
from phoenix.contract.webhooks import WebhookPayload

PAYLOADS = (WebhookPayload,)
"""Types of which the document has to know, beside those of routes."""

_SIGNED_HEADERS = {
    "webhook-id": "The same at every try: what comes twice has it twice.",
    "webhook-timestamp": "When it was sent, in seconds since 1970. Refuse what is older than five minutes.",
    "webhook-signature": "`v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`; two of them after a rotation.",
}
_CAUSE_HEADERS = {
    "X-Request-ID": "Of the request that made the job. Not signed.",
    "traceparent": "The trace of that request, if it had one. Not signed.",
}
_ENDS = {
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
    """One entry for each event that a job can ask to be told of."""
    return {name: {"post": _operation(name)} for name in _ENDS}


def _operation(name: str) -> Json:
    return {
        "tags": ["webhooks"],
        "summary": _ENDS[name],
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
            "410": {"description": "Not wanted any more: nothing is sent to this URL again."},
            "default": {"description": "Tried again, ten times in three days; `Retry-After` is honoured."},
        },
        "security": [],
    }


def _header(name: str, description: str, *, is_required: bool) -> Json:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "required": is_required, "description": description, "schema": schema}


def _example(name: str) -> Any:
    """Of the succeeded one with its output, of the failed ones with the reason."""
    succeeded: Json = EXAMPLES["WebhookPayload"]
    state = name.removeprefix("job.")
    data = {**succeeded["data"], "state": state}
    if state != "succeeded":
        data |= {"output": None, "timings": None, "error": _ERRORS.get(state)}
    return {**succeeded, "type": name, "data": data}
