"""What can be wrong with a client or with the service: one name for each fault, in every protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from phoenix.errors import FieldError, PhoenixError, ProblemCode, RequestError, TaskFailed
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class Fault(StrEnum):
    """The name of a fault. It never changes; the sentence next to it may."""

    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    VIDEO_IN_USE = "VIDEO_IN_USE"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    INVALID_REQUEST = "INVALID_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    KEY_ENDED = "KEY_ENDED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
    TOO_MANY_VIDEOS = "TOO_MANY_VIDEOS"
    CLIENT_DOES_NOT_READ = "CLIENT_DOES_NOT_READ"
    IDLE = "IDLE"
    DRAINING = "DRAINING"
    RENDER_FAILED = "RENDER_FAILED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True)
class FaultKind:
    """What a fault becomes in each protocol."""

    http_status: int
    close_code: int
    """Of a WebSocket. Those from 4000 on are Phoenix's, and end in an HTTP status."""
    grpc_code: str


FAULT_KINDS: Mapping[Fault, FaultKind] = {
    Fault.MALFORMED_MESSAGE: FaultKind(400, 4400, "INVALID_ARGUMENT"),
    Fault.OUT_OF_ORDER: FaultKind(409, 4409, "FAILED_PRECONDITION"),
    Fault.VIDEO_IN_USE: FaultKind(409, 4409, "FAILED_PRECONDITION"),
    Fault.MESSAGE_TOO_LARGE: FaultKind(413, 1009, "RESOURCE_EXHAUSTED"),
    Fault.INVALID_REQUEST: FaultKind(422, 4422, "INVALID_ARGUMENT"),
    Fault.UNAUTHENTICATED: FaultKind(401, 4401, "UNAUTHENTICATED"),
    Fault.KEY_ENDED: FaultKind(401, 4401, "UNAUTHENTICATED"),
    Fault.FORBIDDEN: FaultKind(403, 4403, "PERMISSION_DENIED"),
    Fault.NOT_FOUND: FaultKind(404, 4404, "NOT_FOUND"),
    Fault.RATE_LIMITED: FaultKind(429, 4429, "RESOURCE_EXHAUSTED"),
    Fault.TOO_MANY_SESSIONS: FaultKind(503, 1013, "UNAVAILABLE"),
    Fault.TOO_MANY_VIDEOS: FaultKind(429, 4429, "RESOURCE_EXHAUSTED"),
    Fault.CLIENT_DOES_NOT_READ: FaultKind(408, 4408, "DEADLINE_EXCEEDED"),
    Fault.IDLE: FaultKind(408, 4408, "DEADLINE_EXCEEDED"),
    Fault.DRAINING: FaultKind(503, 1012, "UNAVAILABLE"),
    Fault.RENDER_FAILED: FaultKind(500, 1011, "INTERNAL"),
    Fault.UNAVAILABLE: FaultKind(503, 1013, "UNAVAILABLE"),
    Fault.INTERNAL: FaultKind(500, 1011, "INTERNAL"),
}

_FAULTS_BY_CODE: Mapping[ProblemCode, Fault] = {
    ProblemCode.INVALID_REQUEST: Fault.INVALID_REQUEST,
    ProblemCode.UNSUPPORTED_MEDIA: Fault.INVALID_REQUEST,
    ProblemCode.CONFLICT: Fault.VIDEO_IN_USE,
    ProblemCode.UNAUTHENTICATED: Fault.UNAUTHENTICATED,
    ProblemCode.KEY_EXPIRED: Fault.UNAUTHENTICATED,
    ProblemCode.FORBIDDEN: Fault.FORBIDDEN,
    ProblemCode.NOT_FOUND: Fault.NOT_FOUND,
    ProblemCode.GONE: Fault.NOT_FOUND,
    ProblemCode.PAYLOAD_TOO_LARGE: Fault.MESSAGE_TOO_LARGE,
    ProblemCode.RATE_LIMITED: Fault.RATE_LIMITED,
    ProblemCode.QUEUE_FULL: Fault.UNAVAILABLE,
    ProblemCode.UNAVAILABLE: Fault.UNAVAILABLE,
    ProblemCode.STORAGE_FULL: Fault.UNAVAILABLE,
}


class FrameError(PhoenixError):
    """A request or a session cannot be carried out."""

    def __init__(
        self, fault: Fault, detail: str, *, field_errors: tuple[FieldError, ...] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.fault = fault
        self.field_errors = field_errors
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> FaultKind:
        return FAULT_KINDS[self.fault]


def explain(error: Exception) -> FrameError:
    """The error as the client will see it. The text of an unexpected error is logged and hidden."""
    match error:
        case FrameError():
            return error
        case RequestError():
            fault = _FAULTS_BY_CODE.get(error.code, Fault.INTERNAL)
            return FrameError(
                fault, error.detail, field_errors=tuple(error.field_errors), retry_after_s=error.retry_after_s
            )
        case TaskFailed():
            return FrameError(Fault.RENDER_FAILED, f"{error.code}: {error.detail}")
        case _:
            _logger.error("a request for frames failed", exc_info=error)
            return FrameError(Fault.INTERNAL, "Something went wrong here; the log of the server has the error.")
