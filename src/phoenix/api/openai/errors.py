"""Errors of the routes under `/v1/videos`, in the format of OpenAI's SDKs, which OpenRouter's clients read too."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from phoenix.api.errors.problems import MAX_FIELD_ERRORS, ExplainedError, explain, record_refusal
from phoenix.api.http.declarations import Responses
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import VideoFault, VideoProblem
from phoenix.errors import ProblemCode, RequestError
from phoenix.storage.errors import ObjectMissing, StoreFailed

_EXPECTED = (RequestError, RequestValidationError, HTTPException, ObjectMissing, StoreFailed)
_TYPES = {
    ProblemCode.UNAUTHENTICATED: "authentication_error",
    ProblemCode.KEY_EXPIRED: "authentication_error",
    ProblemCode.FORBIDDEN: "permission_error",
    ProblemCode.STORAGE_QUOTA_EXCEEDED: "insufficient_quota",
    ProblemCode.NOT_FOUND: "not_found_error",
    ProblemCode.CONFLICT: "conflict_error",
    ProblemCode.ARTIFACT_IN_USE: "conflict_error",
    ProblemCode.RATE_LIMITED: "rate_limit_error",
    ProblemCode.TOO_MANY_TRANSFERS: "rate_limit_error",
    ProblemCode.QUEUE_FULL: "server_error",
    ProblemCode.UNAVAILABLE: "server_error",
    ProblemCode.STORAGE_FULL: "server_error",
}
# Fields of a reel, and their names in a video.
_PARAMS = {
    "duration_s": "seconds",
    "resolution": "size",
    "aspect_ratio": "size",
    "file": "input_reference",
    "extends": "video",
}

PROBLEM: Responses = {
    "default": {
        "description": "Any error, in the format of OpenAI's SDKs.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VideoProblem"}}},
    }
}


class VideoRoute(StrictRoute):
    """A route that sends its errors in OpenAI's format. Unexpected errors go on to the error boundary."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def respond_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except _EXPECTED as error:
                explained = explain(error)
                record_refusal(request.scope, explained)
                return respond(explained)

        return respond_or_explain


def respond(explained: ExplainedError) -> Response:
    headers = dict(explained.headers)
    if explained.status == 409:
        headers["x-should-retry"] = "false"  # the SDKs would retry a conflict, which is futile here
    error = VideoFault(
        message=_message_of(explained),
        type=_TYPES.get(explained.code, "invalid_request_error"),
        param=param_of(explained.field_errors[0].pointer) if explained.field_errors else None,
        code=explained.code.lower(),
    )
    # OpenAI uses 400 where we use 422.
    status = 400 if explained.status == 422 else explained.status
    body = VideoProblem(error=error).model_dump_json()
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _message_of(explained: ExplainedError) -> str:
    """A sentence per field error, because the format has room for one message and one field."""
    errors = explained.field_errors[:MAX_FIELD_ERRORS]
    if len(errors) == 1 and errors[0].pointer.startswith("#"):
        return f"{param_of(errors[0].pointer) or 'The body'}: {errors[0].detail}"
    if len(errors) < 2:
        return explained.detail
    return " ".join(f"{param_of(error.pointer) or 'the body'}: {error.detail.rstrip('.')}." for error in errors)


def param_of(pointer: str) -> str | None:
    """The field of the form that corresponds to a pointer into the reel: `/clips/0/duration_s` is `seconds`.

    A pointer that begins with `#` is into the form itself.
    """
    parts = [part for part in pointer.removeprefix("#").split("/") if part and part not in ("body", "query")]
    if not parts:
        return None
    if pointer.startswith("#"):
        return ".".join(parts)
    if parts[:3] == ["clips", "0", "conditions"]:
        return "input_reference"
    last = parts[-1]
    return _PARAMS.get(last, ".".join(parts))
