"""Every error that Phoenix raises on purpose, and the stable code that a client sees.

    PhoenixError
    ├── RequestError            the caller's request cannot be done; mapped to a status in api/errors/problems.py
    │   ├── InvalidRequest      one or more field errors, each with its pointer
    │   │   └── MalformedRequest    it cannot even be read: broken JSON, a made-up cursor
    │   ├── Unauthenticated, Forbidden, NotFound, Conflict, PreconditionFailed, Gone
    │   ├── PayloadTooLarge, UnsupportedMedia
    │   └── RateLimited, QueueFull, Unavailable     try again later
    └── TaskFailed              a task of an accepted job went wrong; becomes the job's `error`

A class's docstring is its default message, so that the two cannot drift apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class ProblemCode(StrEnum):
    """The reason why a request failed."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    PRECONDITION_FAILED = "PRECONDITION_FAILED"
    GONE = "GONE"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA = "UNSUPPORTED_MEDIA"
    RATE_LIMITED = "RATE_LIMITED"
    QUEUE_FULL = "QUEUE_FULL"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class FailureCode(StrEnum):
    """The reason why an accepted job failed."""

    TIMEOUT = "TIMEOUT"
    RUN_TIMEOUT = "RUN_TIMEOUT"
    GPU_OOM = "GPU_OOM"
    ENGINE_FAILED = "ENGINE_FAILED"
    WORKER_LOST = "WORKER_LOST"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    UPSTREAM_RATE_LIMITED = "UPSTREAM_RATE_LIMITED"
    MODERATED = "MODERATED"
    MEDIA_INVALID = "MEDIA_INVALID"
    STORAGE_FAILED = "STORAGE_FAILED"
    CANCELED = "CANCELED"


class Stage(StrEnum):
    """The stage of a task in which an error occurred."""

    LOAD = "load"
    TEXT = "text"
    DENOISE = "denoise"
    DECODE = "decode"
    ENCODE = "encode"
    UPLOAD = "upload"
    FETCH = "fetch"
    SOUNDTRACK = "soundtrack"
    ASSEMBLE = "assemble"
    QUEUE = "queue"


@dataclass(frozen=True)
class FieldError:
    """One error of a request: its place, as an RFC 6901 pointer into the body, and what to do about it."""

    pointer: str
    detail: str


class PhoenixError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").split("\n")[0]
        super().__init__(self.detail)


class RequestError(PhoenixError):
    """The request cannot be done."""

    code = ProblemCode.INTERNAL

    def __init__(
        self, detail: str | None = None, *, field_errors: Sequence[FieldError] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.field_errors = tuple(field_errors)
        self.retry_after_s = retry_after_s


class InvalidRequest(RequestError):
    """The request has errors; each is listed with its pointer."""

    code = ProblemCode.INVALID_REQUEST

    @classmethod
    def from_field_errors(cls, field_errors: Sequence[FieldError]) -> Self:
        """The detail is the first field error, and the number of further ones."""
        first = f"{field_errors[0].pointer}: {field_errors[0].detail}"
        more = f" (and {len(field_errors) - 1} more)" if len(field_errors) > 1 else ""
        return cls(first + more, field_errors=field_errors)


class MalformedRequest(InvalidRequest):
    """The request cannot be read."""


class Unauthenticated(RequestError):
    """Send an API key as `Authorization: Bearer …`."""

    code = ProblemCode.UNAUTHENTICATED


class Forbidden(RequestError):
    """This key may not do that."""

    code = ProblemCode.FORBIDDEN


class NotFound(RequestError):
    """There is no such thing, or it is not yours."""

    code = ProblemCode.NOT_FOUND


class Conflict(RequestError):
    """The state of the resource does not allow this now."""

    code = ProblemCode.CONFLICT


class PreconditionFailed(RequestError):
    """It has changed: the `If-Match` of the request names another version."""

    code = ProblemCode.PRECONDITION_FAILED


class IdempotencyMismatch(RequestError):
    """This Idempotency-Key was used with a different request; give each request a new one."""

    code = ProblemCode.IDEMPOTENCY_MISMATCH


class Gone(RequestError):
    """It existed, and its files have been deleted."""

    code = ProblemCode.GONE


class PayloadTooLarge(RequestError):
    """The body is larger than this server accepts."""

    code = ProblemCode.PAYLOAD_TOO_LARGE


class UnsupportedMedia(RequestError):
    """The body is not a media type that this route accepts."""

    code = ProblemCode.UNSUPPORTED_MEDIA


class RateLimited(RequestError):
    """Too many requests for this key; wait for Retry-After."""

    code = ProblemCode.RATE_LIMITED

    def __init__(
        self, detail: str | None = None, *, policies: Sequence[str] = (), retry_after_s: int | None = None
    ) -> None:
        """`policies`: names of the limits that are used up."""
        super().__init__(detail, retry_after_s=retry_after_s)
        self.policies = tuple(policies)


class QueueFull(RequestError):
    """The queue is full; wait for Retry-After."""

    code = ProblemCode.QUEUE_FULL


class Unavailable(RequestError):
    """A service behind this one is away; try again after Retry-After."""

    code = ProblemCode.UNAVAILABLE


class SchemaOutdated(Unavailable):
    """The database lacks tables of this version; `phoenix db upgrade` makes them."""


class NewerVersionError(Unavailable):
    """A newer version of Phoenix wrote this; a replica of that version can read it."""


class TaskFailed(PhoenixError):
    """A task of an accepted job failed.

    `retriable` says whether another attempt of the same task can end differently: true for a full disk or a
    crashed encoder, false for a moderated prompt or a broken audio file.
    """

    def __init__(self, code: FailureCode, detail: str, *, stage: Stage, retriable: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.stage = stage
        self.retriable = retriable
