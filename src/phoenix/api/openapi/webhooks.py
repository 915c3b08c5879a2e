"""The `webhooks` of the document. Receivers can generate types and handlers from them."""

from typing import Any

from pydantic import BaseModel

from phoenix.api.openapi.postprocess import EXAMPLES, Json
from phoenix.contract import WebhookPayload
from phoenix.contract.videos import VideoCallback

PAYLOADS = (WebhookPayload, VideoCallback)
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


_CALLBACK_HEADERS = {
    "X-OpenRouter-Idempotency-Key": "Id and status of the video: the same at every try.",
    "X-OpenRouter-Signature": "`t=SECONDS,v1=HEX`: the HMAC-SHA256 of `SECONDS,BODY` with your newest secret.",
}
_CALLBACKS = {
    "video.generation.completed": "A video is completed",
    "video.generation.failed": "A video has failed",
    "video.generation.cancelled": "A video was canceled",
    "video.generation.expired": "A video has waited too long",
}


def describe_webhooks() -> Json:
    """One entry for each event that is sent as a webhook, and for each in OpenRouter's form."""
    described = {name: _operation(name, _EVENTS[name], WebhookPayload, _example(name)) for name in _EVENTS}
    for name, summary in _CALLBACKS.items():
        described[name] = operation = _operation(name, summary, VideoCallback, _example_of_callback(name))
        operation["description"] = "Sent to the `callback_url` of a video, in OpenRouter's form."
        operation["parameters"] += [_header(*each, is_required=True) for each in _CALLBACK_HEADERS.items()]
    return {name: {"post": operation} for name, operation in described.items()}


def _operation(name: str, summary: str, payload: type[BaseModel], example: Json) -> Json:
    return {
        "tags": ["webhooks"],
        "summary": summary,
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
                    "schema": {"$ref": f"#/components/schemas/{payload.__name__}"},
                    "examples": {"example": {"value": example}},
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


def _example_of_callback(name: str) -> Json:
    completed: Json = EXAMPLES["VideoCallback"]
    status = name.rpartition(".")[2]
    data = {**completed["data"], "status": status}
    if status != "completed":
        data["unsigned_urls"] = []
    if error := _ERRORS.get(status):
        data["error"] = error["message"]
    return {**completed, "type": name, "data": data}
