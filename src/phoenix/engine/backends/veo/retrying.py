"""Retries of requests to the service: the delays, the limit, and interruptible calls."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from phoenix.engine.backends.veo.errors import UpstreamError
from phoenix.engine.stop_token import StopToken
from phoenix.settings import VeoSettings

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class VeoRetryPolicy:
    """Delays that double from `first_s` to `longest_s`, for at most `max_retries` retries."""

    first_s: float
    longest_s: float
    max_retries: int

    @classmethod
    def from_settings(cls, settings: VeoSettings) -> "VeoRetryPolicy":
        return cls(settings.retry_delay_s, settings.max_retry_delay_s, settings.max_retries)

    def delay_s(self, retry: int, retry_after_s: float | None = None, *, jitter: float = 0.5) -> float | None:
        """Returns the delay before retry number `retry` (from 1), or None to give up. `jitter` is from 0 to 1.

        The delay is at least `retry_after_s`. Gives up at once if that is more than `longest_s`.
        """
        if retry > self.max_retries or (retry_after_s is not None and retry_after_s > self.longest_s):
            return None
        ours_s = min(self.longest_s, self.first_s * 2 ** min(retry - 1, 30))
        # Jitter is only added to `retry_after_s`. Without jitter, the whole fleet would retry at the same moment.
        return retry_after_s + jitter * self.first_s if retry_after_s is not None else ours_s * (0.5 + jitter / 2)


def with_retries(
    call: Callable[[], _Result],
    policy: VeoRetryPolicy,
    stop: StopToken,
    *,
    retry_on: tuple[type[UpstreamError], ...],
) -> _Result:
    """Returns the result of `call`. Retries it after the errors in `retry_on`.

    Raises any other error, `TaskFailed` after the last retry, or `RenderStopped` when asked to stop.
    """
    for retry in count(1):
        try:
            return call()
        except retry_on as error:
            delay_s = policy.delay_s(retry, error.retry_after_s, jitter=random.random())
            if delay_s is None:
                raise error.as_failure() from error
        stop.wait(delay_s)
    raise AssertionError("counting never ends")


def call_interruptibly(call: Callable[[], _Result], stop: StopToken) -> _Result:
    """Returns the result of `call`, which runs in another thread.

    Raises the error of `call`, or `RenderStopped` as soon as a stop is requested: the thread then ends later, at the
    time limit of the call.
    """
    done, outcome = threading.Event(), Future[_Result]()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 (passed on to the waiting thread)
            outcome.set_exception(error)
        finally:
            done.set()

    stop.check()
    with stop.on_stop(done.set):
        threading.Thread(target=run, name="veo-poll", daemon=True).start()
        done.wait()
    stop.check()
    return outcome.result()
