"""Maps every error to its status and its RFC 9457 response. No other module does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from phoenix.api.errors.validation import explain_validation
from phoenix.api.http.body_limits import CLOSE_CONNECTION
from phoenix.api.http.request_ids import request_id_of
from phoenix.contract import PROBLEM_MEDIA_TYPE, Problem, ProblemFault
from phoenix.disk_space import is_full_disk
from phoenix.errors import (
    FieldError,
    InvalidRequest,
    MalformedRequest,
    ProblemCode,
    RequestError,
    StorageFull,
    Unauthenticated,
    UnsupportedMedia,
)
from phoenix.storage.errors import ObjectMissing, StoreFailed, StoreFull

TYPE_BASE = "https://phoenix.invalid/problems/"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
"""From draft-ietf-httpapi-ratelimit-headers, like the member `violated-policies`."""

MAX_FIELD_ERRORS = 1000
"""A body of one megabyte can hold more field errors than anyone would read."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class ProblemKind:
    """Status, title and type URI of a problem code."""

    status: int
    title: str
    type: str | None = None
    """The URI of a standard type; if None, the type is derived from the code."""


PROBLEM_KINDS: Mapping[ProblemCode, ProblemKind] = {
    ProblemCode.INVALID_REQUEST: ProblemKind(422, "Invalid request"),
    ProblemCode.UNAUTHENTICATED: ProblemKind(401, "Not authenticated"),
    ProblemCode.KEY_EXPIRED: ProblemKind(401, "Key expired"),
    ProblemCode.FORBIDDEN: ProblemKind(403, "Forbidden"),
    ProblemCode.STORAGE_QUOTA_EXCEEDED: ProblemKind(403, "Storage quota exceeded"),
    ProblemCode.NOT_FOUND: ProblemKind(404, "Not found"),
    ProblemCode.CONFLICT: ProblemKind(409, "Conflict"),
    ProblemCode.ARTIFACT_IN_USE: ProblemKind(409, "Artifact in use"),
    ProblemCode.JOB_ENDED: ProblemKind(409, "Job ended"),
    ProblemCode.GONE: ProblemKind(410, "Gone"),
    ProblemCode.PRECONDITION_FAILED: ProblemKind(412, "Precondition failed"),
    ProblemCode.PAYLOAD_TOO_LARGE: ProblemKind(413, "Payload too large"),
    ProblemCode.UNSUPPORTED_MEDIA: ProblemKind(415, "Unsupported media"),
    ProblemCode.RATE_LIMITED: ProblemKind(429, "Too many requests", QUOTA_EXCEEDED),
    ProblemCode.TOO_MANY_TRANSFERS: ProblemKind(429, "Too many transfers", QUOTA_EXCEEDED),
    ProblemCode.QUEUE_FULL: ProblemKind(503, "Queue full"),
    ProblemCode.IDEMPOTENCY_MISMATCH: ProblemKind(422, "Idempotency mismatch"),
    ProblemCode.UNAVAILABLE: ProblemKind(503, "Unavailable"),
    ProblemCode.STORAGE_FULL: ProblemKind(507, "Storage full"),
    ProblemCode.INTERNAL: ProblemKind(500, "Internal error"),
}

_SPECIAL = (
    ProblemCode.KEY_EXPIRED,
    ProblemCode.STORAGE_QUOTA_EXCEEDED,
    ProblemCode.ARTIFACT_IN_USE,
    ProblemCode.JOB_ENDED,
    ProblemCode.QUEUE_FULL,
    ProblemCode.TOO_MANY_TRANSFERS,
    ProblemCode.INTERNAL,
)
# For errors that have a status but no code. Another status below 500 becomes `INVALID_REQUEST`.
_CODES_BY_STATUS: Mapping[int, ProblemCode] = {
    kind.status: code for code, kind in PROBLEM_KINDS.items() if code not in _SPECIAL
} | {422: ProblemCode.INVALID_REQUEST}

_STOCK_DETAILS = {404: "There is no such route.", 405: "This route does not take that method; see Allow."}
_STOCK_PHRASES = frozenset({"Not Found", "Method Not Allowed"})


@dataclass(frozen=True)
class ExplainedError:
    """An error as the client will see it."""

    code: ProblemCode
    status: int
    detail: str
    field_errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    policies: Sequence[str] = ()
    job_ids: Sequence[str] = ()


def explain(error: Exception) -> ExplainedError:
    """The error as the client will see it. The text of an unexpected error is hidden: it may hold paths and SQL."""
    match error:
        case RequestError():
            return _explain_request_error(error)
        case RequestValidationError():
            return _explain_validation(error)
        case HTTPException():
            return _explain_http(error)
        case ObjectMissing() | StoreFailed():
            return _explain_store_error(error)
        case OSError() if is_full_disk(error):
            return _explain_request_error(StorageFull("The disk for received files is full: make room on it."))
        case _:
            return _of(ProblemCode.INTERNAL, "Something went wrong here; the log has the error under the request id.")


_REFUSAL = "phoenix.refusal"


def record_refusal(scope: Scope, explained: ExplainedError) -> None:
    """Stores the code of the error, and the limit that is used up, for the metrics."""
    scope[_REFUSAL] = (explained.code.value, explained.policies[0] if explained.policies else "none")


def refusal_of(scope: Scope) -> tuple[str, str] | None:
    """What `record_refusal` stored; None for a request without an error."""
    return scope.get(_REFUSAL)


def problem_response(scope: Scope, explained: ExplainedError) -> Response:
    """The problem+json response. `scope` holds the path and the request id."""
    record_refusal(scope, explained)
    kind = PROBLEM_KINDS[explained.code]
    problem = Problem(
        type=kind.type or TYPE_BASE + explained.code.lower().replace("_", "-"),
        title=kind.title,
        status=explained.status,
        detail=explained.detail,
        instance=scope["path"],
        code=explained.code,
        request_id=request_id_of(scope),
        errors=[
            ProblemFault(pointer=error.pointer, detail=error.detail)
            for error in explained.field_errors[:MAX_FIELD_ERRORS]
        ],
        violated_policies=list(explained.policies),
        job_ids=list(explained.job_ids[:MAX_FIELD_ERRORS]),
    )
    # Bytes of the path that are not UTF-8 arrive as surrogates, which JSON cannot contain.
    body = problem.model_copy(update={"instance": problem.instance.encode(errors="replace").decode()})
    return Response(
        content=body.model_dump_json(by_alias=True),
        status_code=explained.status,
        headers=dict(explained.headers),
        media_type=PROBLEM_MEDIA_TYPE,
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Registers a handler for every error that is raised on purpose. Other errors reach `middleware.ErrorBoundary`."""
    for kind in (RequestError, RequestValidationError, HTTPException, ObjectMissing, StoreFailed):
        app.add_exception_handler(kind, _respond)


async def _respond(request: Request, error: Exception) -> Response:
    explained = explain(error)
    # Starlette lists only the methods of the first route with this path, and none for a path below a mount.
    if explained.status == 405 and (allowed := ", ".join(allowed_methods(request))):
        explained = replace(explained, headers={"Allow": allowed})
    return problem_response(request.scope, explained)


def allowed_methods(request: Request) -> list[str]:
    """The methods that any route takes for this path."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _of(code: ProblemCode, detail: str, *, headers: Mapping[str, str] | None = None) -> ExplainedError:
    return ExplainedError(code, PROBLEM_KINDS[code].status, detail, headers=headers or {})


def _explain_store_error(error: ObjectMissing | StoreFailed) -> ExplainedError:
    match error:
        case ObjectMissing():
            return _of(ProblemCode.GONE, "Its file has been deleted.")
        case StoreFull():
            return _explain_request_error(StorageFull("The file store is full: delete jobs or uploads, or make room."))
        case _:
            return _of(ProblemCode.UNAVAILABLE, "The file store is away.", headers={"Retry-After": "5"})


def _explain_request_error(error: RequestError) -> ExplainedError:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    elif error.code is ProblemCode.STORAGE_FULL:
        # Somebody has to make room first.
        headers["Retry-After"] = "60"
    elif error.code in (ProblemCode.UNAVAILABLE, ProblemCode.QUEUE_FULL, ProblemCode.RATE_LIMITED):
        headers["Retry-After"] = "5"
    if error.code is ProblemCode.PAYLOAD_TOO_LARGE:
        headers |= CLOSE_CONNECTION
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    status = 400 if isinstance(error, MalformedRequest) else PROBLEM_KINDS[error.code].status
    return ExplainedError(error.code, status, error.detail, error.field_errors, headers, error.policies, error.job_ids)


def _explain_validation(error: RequestValidationError) -> ExplainedError:
    explanation = explain_validation(error.errors(), body=error.body)
    if explanation.is_not_json:
        return _explain_request_error(UnsupportedMedia("Send JSON, with Content-Type: application/json."))
    kind = MalformedRequest if explanation.is_malformed else InvalidRequest
    return _explain_request_error(kind(explanation.detail, field_errors=explanation.field_errors))


def _explain_http(error: HTTPException) -> ExplainedError:
    fallback = ProblemCode.INVALID_REQUEST if error.status_code < 500 else ProblemCode.INTERNAL
    code = _CODES_BY_STATUS.get(error.status_code, fallback)
    detail = _STOCK_DETAILS[error.status_code] if error.detail in _STOCK_PHRASES else str(error.detail)
    return ExplainedError(code, error.status_code, detail, headers=dict(error.headers or {}))
