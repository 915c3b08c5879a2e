"""When to retry a request, and when to give up. The decision is pure; only `Tries.wait_after` sleeps."""

import random
from dataclasses import dataclass

import anyio

from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable

TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts` tries in a row, with delays that double from `first_delay_s` up to `longest_delay_s`."""

    attempts: int = 5
    first_delay_s: float = 0.5
    longest_delay_s: float = 60

    def delay_s(self, failures: int, *, asked_s: float | None = None, jitter: float = 0) -> float | None:
        """Seconds to wait after `failures` (from 1) in a row; None to give up.

        `asked_s` is the server's Retry-After; more than `longest_delay_s` is not waited for. `jitter`, from 0 to 1,
        adds up to a quarter, so that the clients of a restarted server do not come back in one wave.
        """
        if failures >= self.attempts or (asked_s or 0) > self.longest_delay_s:
            return None
        backoff_s = min(self.first_delay_s * 2 ** (failures - 1), self.longest_delay_s)
        return max(backoff_s, asked_s or 0) * (1 + jitter / 4)


class Tries:
    """Counts the consecutive failures of one operation."""

    def __init__(self, retry_policy: RetryPolicy) -> None:
        self.retry_policy = retry_policy
        self._failures = 0

    def progressed(self) -> None:
        self._failures = 0

    async def wait_after(self, error: PhoenixProblem | PhoenixUnreachable) -> None:
        """Sleeps until the next try; raises `error` if it is final or the policy gives up."""
        asked_s = None
        if isinstance(error, PhoenixProblem):
            if error.status not in TRANSIENT_STATUSES:
                raise error
            asked_s = error.retry_after_s
        self._failures += 1
        delay_s = self.retry_policy.delay_s(self._failures, asked_s=asked_s, jitter=random.random())
        if delay_s is None:
            raise error
        await anyio.sleep(delay_s)
