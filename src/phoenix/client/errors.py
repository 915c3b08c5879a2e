"""The exceptions of the client, and how a response becomes one of them."""

from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from phoenix.clock import utc_now
from phoenix.contract.problems import Problem, ProblemFault


class PhoenixClientError(Exception):
    """Base of every error that the client raises."""


class PhoenixProblem(PhoenixClientError):
    """The server refused: `status` and `code` say why, `field_errors` where in the request."""

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


class PhoenixUnreachable(PhoenixClientError):
    """No answer: nothing listens there, or the connection broke."""


class DownloadCorrupted(PhoenixClientError):
    """What arrived is not what the server said it would send; nothing was written to the target."""


class NoOutput(PhoenixClientError):
    """The job has nothing to download: it did not succeed, or not yet."""


def problem_from(response: httpx.Response) -> PhoenixProblem:
    """The exception for a response that is not 2xx; its body must have been read."""
    retry_after_s = _retry_after_s(response.headers.get("retry-after"))
    request_id = response.headers.get("x-request-id")
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        # Not Phoenix's: a proxy in between has answered.
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
    """Seconds from either form of the header (RFC 9110, 10.2.3); None if absent or malformed."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - utc_now()).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
