"""When a delivery is retried. Pure."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

_MINUTE_S, _HOUR_S = 60, 3600
DELAYS_S = (
    0,
    5,
    5 * _MINUTE_S,
    30 * _MINUTE_S,
    2 * _HOUR_S,
    5 * _HOUR_S,
    10 * _HOUR_S,
    14 * _HOUR_S,
    20 * _HOUR_S,
    24 * _HOUR_S,
)
"""Seconds before each try; a little more than three days in all, as the specification suggests."""

_LONGEST_S = 24 * _HOUR_S


def retry_in_s(attempt: int, *, asked_s: float | None, jitter: float) -> float | None:
    """Seconds until the try after this one, the first being 1; None when it was the last.

    `asked_s` is the target's Retry-After. `jitter`, from 0 to 1, adds up to a tenth, lest all deliveries to a target
    that was away come back at once.
    """
    if attempt >= len(DELAYS_S):
        return None
    return max(DELAYS_S[attempt] * (1 + jitter / 10), min(asked_s or 0.0, _LONGEST_S))


def parse_retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds from either form of the header; None for anything else."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        return None
    return max((at - now) / timedelta(seconds=1), 0.0)
