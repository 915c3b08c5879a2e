"""Every error that Phoenix raises on purpose, and the stable code of each error in responses.

    PhoenixError
    ├── RequestError            the request cannot be carried out; api/errors/problems.py maps it to a status
    │   ├── InvalidRequest      one or more field errors, each with its pointer
    │   │   └── MalformedRequest    the request cannot be read: broken JSON, an unknown cursor
    │   ├── Unauthenticated, Forbidden, NotFound, Conflict, PreconditionFailed, Gone
    │   │   KeyExpired is an Unauthenticated, ArtifactInUse and JobEnded are Conflicts
    │   ├── StorageQuotaExceeded    the key stores too much
    │   ├── PayloadTooLarge, UnsupportedMedia
    │   └── RateLimited (TooManyTransfers), QueueFull, Unavailable, StorageFull     try again later
    └── TaskFailed              a task of an accepted job failed; becomes the job's `error`

The first line of a class's docstring is the default message of its errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class ProblemCode(StrEnum):
    """The reason why a request failed."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    KEY_EXPIRED = "KEY_EXPIRED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    ARTIFACT_IN_USE = "ARTIFACT_IN_USE"
    JOB_ENDED = "JOB_ENDED"
    PRECONDITION_FAILED = "PRECONDITION_FAILED"
    GONE = "GONE"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA = "UNSUPPORTED_MEDIA"
    STORAGE_QUOTA_EXCEEDED = "STORAGE_QUOTA_EXCEEDED"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_TRANSFERS = "TOO_MANY_TRANSFERS"
    QUEUE_FULL = "QUEUE_FULL"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    UNAVAILABLE = "UNAVAILABLE"
    STORAGE_FULL = "STORAGE_FULL"
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
    MEDIA_LIMIT = "MEDIA_LIMIT"
    NARRATION_TOO_LONG = "NARRATION_TOO_LONG"
    STORAGE_FAILED = "STORAGE_FAILED"
    STORAGE_FULL = "STORAGE_FULL"
    CANCELED = "CANCELED"


class Stage(StrEnum):
    """The stage of a task's work that failed."""

    LOAD = "load"
    TEXT = "text"
    DENOISE = "denoise"
    DECODE = "decode"
    POSTPROCESS = "postprocess"
    ENCODE = "encode"
    UPLOAD = "upload"
    FETCH = "fetch"
    SOUNDTRACK = "soundtrack"
    NARRATION = "narration"
    ASSEMBLE = "assemble"
    QUEUE = "queue"


@dataclass(frozen=True)
class FieldError:
    """One error in a request: its place (an RFC 6901 pointer into the body), and the remedy."""

    pointer: str
    detail: str


class PhoenixError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").split("\n")[0]
        super().__init__(self.detail)


def install_extra(extra: str) -> str:
    """What an operator does about a missing package. The name `phoenix` on the package index is another project's."""
    return f"run `pip install '.[{extra}]'` in the source of Phoenix"


class RequestError(PhoenixError):
    """The request cannot be carried out."""

    code = ProblemCode.INTERNAL
    policies: tuple[str, ...] = ()
    """Names of the limits that are used up."""
    job_ids: tuple[str, ...] = ()
    """The jobs that stand in the way."""

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


class KeyExpired(Unauthenticated):
    """This API key has expired."""

    code = ProblemCode.KEY_EXPIRED


class Forbidden(RequestError):
    """This API key does not allow the request."""

    code = ProblemCode.FORBIDDEN


class NotFound(RequestError):
    """The resource does not exist, or it belongs to another key."""

    code = ProblemCode.NOT_FOUND


class Conflict(RequestError):
    """The state of the resource does not allow this now."""

    code = ProblemCode.CONFLICT


class ArtifactInUse(Conflict):
    """A job needs this file."""

    code = ProblemCode.ARTIFACT_IN_USE

    def __init__(self, detail: str | None = None, *, job_ids: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.job_ids = tuple(job_ids)


class JobEnded(Conflict):
    """The job has ended meanwhile, and nothing was changed."""

    code = ProblemCode.JOB_ENDED


class PreconditionFailed(RequestError):
    """The resource has changed: the `If-Match` of the request names another version."""

    code = ProblemCode.PRECONDITION_FAILED


class IdempotencyMismatch(RequestError):
    """This Idempotency-Key was used with a different request; give each request a new one."""

    code = ProblemCode.IDEMPOTENCY_MISMATCH


class Gone(RequestError):
    """The resource existed, but its files have been deleted."""

    code = ProblemCode.GONE


class PayloadTooLarge(RequestError):
    """The body is larger than this server accepts."""

    code = ProblemCode.PAYLOAD_TOO_LARGE


class UnsupportedMedia(RequestError):
    """The body is not a media type that this route accepts."""

    code = ProblemCode.UNSUPPORTED_MEDIA


class StorageQuotaExceeded(RequestError):
    """This key stores as much as it may; delete files to go on."""

    code = ProblemCode.STORAGE_QUOTA_EXCEEDED
    policies = ("stored-bytes",)


class RateLimited(RequestError):
    """Too many requests for this key; wait for Retry-After."""

    code = ProblemCode.RATE_LIMITED

    def __init__(
        self, detail: str | None = None, *, policies: Sequence[str] = (), retry_after_s: int | None = None
    ) -> None:
        """`policies`: names of the limits that are used up."""
        super().__init__(detail, retry_after_s=retry_after_s)
        self.policies = tuple(policies)


class TooManyTransfers(RateLimited):
    """Too many downloads or uploads at a time; wait until one of them has ended."""

    code = ProblemCode.TOO_MANY_TRANSFERS


class QueueFull(RequestError):
    """The queue is full; wait for Retry-After."""

    code = ProblemCode.QUEUE_FULL


class Unavailable(RequestError):
    """A service that this server needs is unavailable; try again after Retry-After."""

    code = ProblemCode.UNAVAILABLE


class StorageFull(Unavailable):
    """A disk that this server needs is full; delete jobs or uploads, or make room on it."""

    code = ProblemCode.STORAGE_FULL


class SchemaOutdated(Unavailable):
    """The database lacks tables or columns: run `phoenix db upgrade`, or remake it if an earlier checkout made it."""


class NewerVersionError(Unavailable):
    """A newer version of Phoenix wrote this; a replica of the newer version can read it."""


class TaskFailed(PhoenixError):
    """A task of an accepted job failed.

    `retriable`: whether another attempt of the same task can succeed. True for a full store or a crashed encoder, False
    for a moderated prompt or a broken audio file.
    """

    def __init__(self, code: FailureCode, detail: str, *, stage: Stage, retriable: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.stage = stage
        self.retriable = retriable


def no_space(detail: str, *, stage: Stage) -> TaskFailed:
    """The failure for a task that found no space for its files. The task waits for space, and its job does not fail."""
    return TaskFailed(FailureCode.STORAGE_FULL, detail, stage=stage, retriable=True)
