"""The exceptions of the client, and their creation from responses."""

from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from phoenix.clock import utc_now
from phoenix.contract import Job, JobState, Problem, ProblemFault

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class PhoenixClientError(Exception):
    """The base class of every error of the client.

    `code`: a code of the API, such as `QUEUE_FULL`, or one of the client. `retriable`: whether the same call may
    succeed later.
    """

    code: str = "FAILED"
    retriable: bool = False


class PhoenixProblem(PhoenixClientError):
    """The server refused the request.

    `status` and `code` give the reason, and `field_errors` the wrong parts of the request. `retry_after_s`: seconds
    after which the server accepts a retry, or None. `request_id`: of the request in the logs of the server.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field_errors: tuple[ProblemFault, ...] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code} ({status}): {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.field_errors = field_errors
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.retriable = status in _TRANSIENT or retry_after_s is not None

    @property
    def pointer(self) -> str | None:
        """The JSON Pointer of the first wrong part of the request; None if no part is wrong."""
        return self.field_errors[0].pointer if self.field_errors else None


class PhoenixUnreachable(PhoenixClientError):
    """The server does not answer: nothing listens at the address, or the connection broke."""

    code = "UNREACHABLE"
    retriable = True


class JobUnsuccessful(PhoenixClientError):
    """The job ended without a result.

    `job` has the details. `code` is the code of its error, or its state. `retriable`: whether `retry` can help.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.code = job.error.code.value if job.error else job.state.value.upper()
        self.retriable = job.error.retriable if job.error else job.state is not JobState.FAILED
        reason = f": {job.error.message}" if job.error else ""
        super().__init__(f"{job.id} is {job.state.value}{reason}")


class DownloadCorrupted(PhoenixClientError):
    """The received bytes differ from the file on the server. Nothing was written to the target."""

    code = "CORRUPTED"
    retriable = True


class NoOutput(PhoenixClientError):
    """The job has no result to download: it has not succeeded, or has not ended yet."""

    code = "NO_OUTPUT"


def problem_from(response: httpx.Response) -> PhoenixProblem:
    """The exception for a response other than 2xx, whose body has been read."""
    retry_after_s = _retry_after_s(response.headers.get("retry-after"))
    request_id = response.headers.get("x-request-id")
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        # A proxy in between has answered instead of Phoenix.
        code, detail = f"HTTP_{response.status_code}", response.reason_phrase or "unexpected answer"
        return PhoenixProblem(response.status_code, code, detail, request_id=request_id, retry_after_s=retry_after_s)
    return PhoenixProblem(
        response.status_code,
        problem.code,
        problem.detail,
        field_errors=tuple(problem.errors),
        request_id=problem.request_id,
        retry_after_s=retry_after_s,
    )


def _retry_after_s(header: str | None) -> float | None:
    """Seconds from either form of the header (RFC 9110, 10.2.3). None if it is absent or malformed."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - utc_now()).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
