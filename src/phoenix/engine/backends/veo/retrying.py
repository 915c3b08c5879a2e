"""How long to wait before a request is sent again, and when to stop sending it."""

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
    """Doubles from `first_s`, up to `longest_s`, for at most `max_retries` waits."""

    first_s: float
    longest_s: float
    max_retries: int

    @classmethod
    def from_settings(cls, settings: VeoSettings) -> "VeoRetryPolicy":
        return cls(settings.retry_delay_s, settings.max_retry_delay_s, settings.max_retries)

    def delay_s(self, retry: int, retry_after_s: float | None = None, *, jitter: float = 0.5) -> float | None:
        """The wait before retry number `retry` (from 1); None to give up. `jitter` is from 0 to 1.

        Never shorter than what the service asked for; if it asks for more than `longest_s`, gives up at once.
        """
        if retry > self.max_retries or (retry_after_s is not None and retry_after_s > self.longest_s):
            return None
        ours_s = min(self.longest_s, self.first_s * 2 ** min(retry - 1, 30))
        # Jitter only adds to what was asked for, or else the whole fleet would be back at the same moment.
        return retry_after_s + jitter * self.first_s if retry_after_s is not None else ours_s * (0.5 + jitter / 2)


def with_retries(
    call: Callable[[], _Result],
    policy: VeoRetryPolicy,
    stop: StopToken,
    *,
    retry_on: tuple[type[UpstreamError], ...],
) -> _Result:
    """Retries `call` after the faults in `retry_on`. Other faults are passed on.

    Raises `TaskFailed` when it gives up, `RenderStopped` when asked to stop.
    """
    for retry in count(1):
        try:
            return call()
        except retry_on as fault:
            delay_s = policy.delay_s(retry, fault.retry_after_s, jitter=random.random())
            if delay_s is None:
                raise fault.as_failure() from fault
        stop.wait(delay_s)
    raise AssertionError("counting never ends")


def call_interruptibly(call: Callable[[], _Result], stop: StopToken) -> _Result:
    """Runs the call in a thread of its own. Raises `RenderStopped` when asked to stop; its result is then lost.

    The thread ends when the call's own time limit does.
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
