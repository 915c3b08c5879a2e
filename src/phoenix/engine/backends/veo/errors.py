"""What can go wrong on the way to the service and back, sorted by one question: may the request be sent again?"""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, cast

import httpx
from google.auth.exceptions import GoogleAuthError
from google.genai import errors
from pydantic import ValidationError

from phoenix.clock import utc_now
from phoenix.errors import FailureCode, Stage, TaskFailed

MODERATION = re.compile(
    r"usage guidelines|responsible ai|safety|sensitive words|support codes?\b|prohibited|policy|policies", re.IGNORECASE
)
"""Words of the service's refusals; it has no code of its own for them."""

RESOURCE_EXHAUSTED = 8
UNAVAILABLE = 14
RETRIABLE_CODES = (2, 4, 8, 10, 13, 14)
"""google.rpc codes after which the same request may succeed: UNKNOWN, DEADLINE_EXCEEDED, … INTERNAL, UNAVAILABLE."""


def describe_refusal(status: int, message: str, detail: str) -> TaskFailed:
    """The failure for a 4xx response other than 429: the same request would be refused again."""
    if status == 400 and MODERATION.search(message):
        return moderated(message)
    lacks_access = status in (401, 403, 404)
    code = FailureCode.MODEL_UNAVAILABLE if lacks_access else FailureCode.ENGINE_FAILED
    return TaskFailed(code, detail, stage=Stage.DENOISE)


def describe_failure(error: dict[str, Any]) -> TaskFailed:
    """The failure of an operation that ended with a google.rpc.Status."""
    code, message = error.get("code", 2), str(error.get("message") or "it does not say why")
    if code not in RETRIABLE_CODES and MODERATION.search(message):
        return moderated(message)
    is_busy = code in (RESOURCE_EXHAUSTED, UNAVAILABLE)
    return TaskFailed(
        FailureCode.UPSTREAM_RATE_LIMITED if is_busy else FailureCode.ENGINE_FAILED,
        f"Veo gave the clip up (code {code}): {message[:500]}",
        stage=Stage.DENOISE,
        retriable=code in RETRIABLE_CODES,
    )


def moderated(reason: str) -> TaskFailed:
    return TaskFailed(
        FailureCode.MODERATED, f"Veo refused the clip: {reason[:500]}", stage=Stage.DENOISE, retriable=False
    )


NOT_STARTED_STATUSES = (429, 503)
"""Answers that say that the request was turned away, not that it went wrong on the way."""


class UpstreamError(Exception):
    """The request did not get its answer. Carries the seconds after which the service wants to be asked again."""

    code: ClassVar = FailureCode.ENGINE_FAILED

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def as_failure(self, *, retriable: bool = True) -> TaskFailed:
        return TaskFailed(self.code, str(self), stage=Stage.DENOISE, retriable=retriable)


class Throttled(UpstreamError):
    """Turned away for now; nothing was begun."""

    code = FailureCode.UPSTREAM_RATE_LIMITED


class Unreachable(UpstreamError):
    """The request never left."""

    code = FailureCode.MODEL_UNAVAILABLE


class ResponseLost(UpstreamError):
    """The request left, and what became of it is not known."""


class OperationUnusable(TaskFailed):
    """This operation will never give a video that can be used: a later attempt needs a new one."""


class ResponseTooLarge(Exception):
    """answer is larger than it may be."""


@contextmanager
def translate_upstream_errors() -> Generator[None]:
    """Turns what the SDK raises inside into an `UpstreamError`, or into `TaskFailed` where asking again is useless."""
    try:
        yield
    except errors.APIError as error:
        raise _from_response(error) from error
    except GoogleAuthError as error:
        raise TaskFailed(
            FailureCode.MODEL_UNAVAILABLE,
            f"Google's credentials could not be used: {_first_line(error)}",
            stage=Stage.DENOISE,
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(f"Veo could not be reached: {_first_line(error)}") from error
    except ResponseTooLarge as error:
        raise OperationUnusable(FailureCode.ENGINE_FAILED, f"Veo's {error}", stage=Stage.DENOISE) from error
    except (httpx.TransportError, json.JSONDecodeError, ValidationError) as error:
        raise ResponseLost(f"Veo's answer was lost: {_first_line(error)}") from error


def retry_after_s(error: errors.APIError) -> float | None:
    """What the service asks for, in its header or in the RetryInfo of its body; None if it does not say."""
    answer: Any = cast("Any", error).response
    said = str(answer.headers.get("retry-after", "")) if answer is not None else ""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", said):
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - utc_now()).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return _retry_info_s(cast("Any", error).details)


def _from_response(error: errors.APIError) -> UpstreamError | TaskFailed:
    detail = f"Veo answered {error.code}: {error.message or error.status or 'nothing more'}"
    if error.code in NOT_STARTED_STATUSES:
        return Throttled(detail, retry_after_s=retry_after_s(error))
    if error.code >= 500 or error.code == 408:
        return ResponseLost(detail, retry_after_s=retry_after_s(error))
    return describe_refusal(error.code, error.message or "", detail)


def _retry_info_s(details: Any) -> float | None:
    match = re.search(r"""['"]retryDelay['"]: ['"](\d+(?:\.\d+)?)s['"]""", json.dumps(details, default=str))
    return float(match[1]) if match else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
