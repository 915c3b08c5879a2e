"""Logs a failure that repeats: its first error with the cause, then the number of repeats, and its end."""

import time
from collections.abc import Callable
from typing import Any

import structlog

from phoenix.disk_space import causes_of

REPORT_INTERVAL_S = 60.0
"""Time between two lines about the repeats of one failure episode."""


class FailureEpisode:
    """The failures of one thing in a row, such as the writes to a database. One per thing and process.

    `event` is the message of the first failure, and `recovery` the message of the success that ends the episode.
    """

    def __init__(
        self,
        logger: structlog.stdlib.BoundLogger,
        event: str,
        recovery: str,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._event = event
        self._recovery = recovery
        self._clock_s = clock_s
        self._failures = 0
        self._began_s = 0.0
        self._report_at_s = 0.0
        self._ends_from_s = 0.0

    @property
    def failures(self) -> int:
        """How many failures there were since the last success."""
        return self._failures

    def fail(self, error: BaseException, *, is_unexpected: bool = False, lasts_s: float = 0.0, **fields: Any) -> None:
        """Logs the first failure, with its traceback if it `is_unexpected`. Counts a repeat, and logs once a minute.

        A success within `lasts_s` does not end the episode: it may have needed less than what failed.
        """
        now_s = self._clock_s()
        self._failures += 1
        self._ends_from_s = now_s + lasts_s
        if self._failures == 1:
            self._began_s, self._report_at_s = now_s, now_s + REPORT_INTERVAL_S
            details = {"exc_info": error} if is_unexpected else describe_error(error)
            log = self._logger.error if is_unexpected else self._logger.warning
            log(self._event, **details, **fields)
        elif now_s >= self._report_at_s:
            self._report_at_s = now_s + REPORT_INTERVAL_S
            self._logger.warning(
                self._event, failures=self._failures, lasted_s=round(now_s - self._began_s), **describe_error(error)
            )

    def end(self, **fields: Any) -> None:
        """Ends the episode, if there is one, and logs how many failures it had."""
        if self._failures and self._clock_s() >= self._ends_from_s:
            lasted_s = round(self._clock_s() - self._began_s, 1)
            self._logger.info(self._recovery, failures=self._failures, lasted_s=lasted_s, **fields)
            self._failures = 0


def describe_error(error: BaseException) -> dict[str, str]:
    """The fields `error` and, if another error caused it, `cause`: the original error. Each is one line."""
    *_, original = causes_of(error)
    described = {"error": _in_one_line(error)}
    return described if original is error else {**described, "cause": _in_one_line(original)}


def _in_one_line(error: BaseException) -> str:
    # Later lines of a database error have the statement.
    text = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
