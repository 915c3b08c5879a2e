"""The errors of Google's service, by whether the request may be sent again."""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, cast

import httpx
from google.auth.exceptions import GoogleAuthError
from google.genai import errors
from google.genai._interactions import APIError as InteractionError
from pydantic import ValidationError

from phoenix.clock import utc_now
from phoenix.errors import FailureCode, Stage, TaskFailed

MODERATION = re.compile(
    r"usage guidelines|responsible ai|safety|sensitive words|support codes?\b|prohibited|policy|policies", re.IGNORECASE
)
"""Words in refusals by moderation, which have no error code."""

RESOURCE_EXHAUSTED = 8
UNAVAILABLE = 14
RETRIABLE_CODES = (2, 4, 8, 10, 13, 14)
"""google.rpc codes after which the same request may succeed, such as UNKNOWN, DEADLINE_EXCEEDED and UNAVAILABLE."""


def describe_refusal(status: int, message: str, detail: str) -> TaskFailed:
    """Returns the failure for a 4xx response other than 429: the service would refuse the same request again."""
    if status == 400 and MODERATION.search(message):
        return moderated(message)
    lacks_access = status in (401, 403, 404)
    code = FailureCode.MODEL_UNAVAILABLE if lacks_access else FailureCode.ENGINE_FAILED
    return TaskFailed(code, detail, stage=Stage.DENOISE)


def describe_failure(error: dict[str, Any]) -> TaskFailed:
    """Returns the failure for an operation that ended with a google.rpc.Status."""
    code, message = error.get("code", 2), str(error.get("message") or "no reason given")
    if code not in RETRIABLE_CODES and MODERATION.search(message):
        return moderated(message)
    is_busy = code in (RESOURCE_EXHAUSTED, UNAVAILABLE)
    return TaskFailed(
        FailureCode.UPSTREAM_RATE_LIMITED if is_busy else FailureCode.ENGINE_FAILED,
        f"Google could not make the clip (code {code}): {message[:500]}",
        stage=Stage.DENOISE,
        retriable=code in RETRIABLE_CODES,
    )


def describe_unnumbered(message: str) -> TaskFailed:
    """Returns the failure for a reason without a code of google.rpc. Another attempt may succeed."""
    if MODERATION.search(message):
        return moderated(message)
    detail = f"Google could not make the clip: {message[:500]}"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE, retriable=True)


def moderated(reason: str) -> TaskFailed:
    """Returns the failure for a clip that the moderation of the service refused."""
    return TaskFailed(
        FailureCode.MODERATED, f"Google refused the clip: {reason[:500]}", stage=Stage.DENOISE, retriable=False
    )


NOT_STARTED_STATUSES = (429, 503)
"""Statuses of responses to requests that the service did not accept."""


class UpstreamError(Exception):
    """The request got no usable response. `retry_after_s` is the wait that the service requests before a retry."""

    code: ClassVar = FailureCode.ENGINE_FAILED

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def as_failure(self, *, retriable: bool = True) -> TaskFailed:
        return TaskFailed(self.code, str(self), stage=Stage.DENOISE, retriable=retriable)


class Throttled(UpstreamError):
    """The service did not accept the request now, and began nothing."""

    code = FailureCode.UPSTREAM_RATE_LIMITED


class Unreachable(UpstreamError):
    """The request was not sent."""

    code = FailureCode.MODEL_UNAVAILABLE


class ResponseLost(UpstreamError):
    """The request was sent, and its outcome is unknown."""


class OperationUnusable(TaskFailed):
    """The operation gives no usable video: a later attempt needs another operation."""


class ResponseTooLarge(Exception):
    """The response is larger than allowed."""


@contextmanager
def translate_upstream_errors() -> Generator[None]:
    """Turns the errors of the SDK into an `UpstreamError`, or into `TaskFailed` if a retry is useless."""
    try:
        yield
    except errors.APIError as error:
        message = error.message or error.status or "no message"
        raise _from_response(error.code, message, retry_after_s(error)) from error
    except InteractionError as error:
        raise _from_interaction(error) from error
    except GoogleAuthError as error:
        raise TaskFailed(
            FailureCode.MODEL_UNAVAILABLE,
            f"Google's credentials could not be used: {_first_line(error)}",
            stage=Stage.DENOISE,
        ) from error
    except httpx.TransportError as error:
        raise _from_transport(error) from error
    except ResponseTooLarge as error:
        detail = f"the response of Google {error}"
        raise OperationUnusable(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE) from error
    except (json.JSONDecodeError, ValidationError) as error:
        raise _lost(error) from error


def status_of(error: BaseException) -> int | None:
    """Returns the HTTP status of the response that became this error of the SDK; None without one."""
    if isinstance(error, InteractionError):
        return error.status_code
    return error.code if isinstance(error, errors.APIError) else None


def retry_after_s(error: errors.APIError | InteractionError) -> float | None:
    """Returns the delay that the service requests, in its Retry-After header or the RetryInfo of its body, or None."""
    response: Any = getattr(error, "response", None)
    header = str(response.headers.get("retry-after", "")) if response is not None else ""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", header):
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - utc_now()).total_seconds())
    except (ValueError, TypeError, OverflowError):  # not a date, or a date without a time zone
        return _retry_info_s(error.body if isinstance(error, InteractionError) else cast("Any", error).details)


def _from_response(status: int, message: str, wait_s: float | None) -> UpstreamError | TaskFailed:
    detail = f"Google responded with {status}: {message}"
    if status in NOT_STARTED_STATUSES:
        return Throttled(detail, retry_after_s=wait_s)
    if status >= 500 or status == 408:
        return ResponseLost(detail, retry_after_s=wait_s)
    return describe_refusal(status, message, detail)


def _from_interaction(error: InteractionError) -> UpstreamError | TaskFailed:
    """The SDK wraps the errors of httpx, and has a status of 200 for what is no JSON."""
    status = status_of(error)
    if status is not None and status >= 400:
        return _from_response(status, _message_of(error.body) or str(error), retry_after_s(error))
    return _from_transport(error.__cause__ if isinstance(error.__cause__, httpx.TransportError) else error)


def _from_transport(error: Exception) -> UpstreamError:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return Unreachable(f"Google could not be reached: {_first_line(error)}")
    return _lost(error)


def _lost(error: Exception) -> ResponseLost:
    return ResponseLost(f"the response of Google was lost: {_first_line(error)}")


def _message_of(body: Any) -> str | None:
    """Returns the message of a body such as `{"error": {"message": "…"}}`."""
    try:
        return str(body["error"]["message"])
    except (KeyError, TypeError, IndexError):
        return None


def _retry_info_s(details: Any) -> float | None:
    match = re.search(r"""['"]retryDelay['"]: ['"](\d+(?:\.\d+)?)s['"]""", json.dumps(details, default=str))
    return float(match[1]) if match else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
