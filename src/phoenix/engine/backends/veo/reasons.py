"""Maps the service's reasons for making no video to failures. Pure."""

import re
from typing import Any

from phoenix.errors import FailureCode, Stage, TaskFailed

MODERATION = re.compile(
    r"usage guidelines|responsible ai|safety|sensitive words|support codes?\b|prohibited|policy|policies", re.IGNORECASE
)
"""Words of the service's refusals; it has no code of its own for them."""

RESOURCE_EXHAUSTED = 8
UNAVAILABLE = 14
PASSING = (2, 4, 8, 10, 13, 14)
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
    if code not in PASSING and MODERATION.search(message):
        return moderated(message)
    is_busy = code in (RESOURCE_EXHAUSTED, UNAVAILABLE)
    return TaskFailed(
        FailureCode.UPSTREAM_RATE_LIMITED if is_busy else FailureCode.ENGINE_FAILED,
        f"Veo gave the clip up (code {code}): {message[:500]}",
        stage=Stage.DENOISE,
        retriable=code in PASSING,
    )


def moderated(reason: str) -> TaskFailed:
    return TaskFailed(
        FailureCode.MODERATED, f"Veo refused the clip: {reason[:500]}", stage=Stage.DENOISE, retriable=False
    )
