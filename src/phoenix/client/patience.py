"""How often and how long to try again. The decision is pure; only `Tries.wait_after` sleeps."""

import random
from dataclasses import dataclass

import anyio

from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable

TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """Up to `attempts` tries in a row, with delays that double from `first_delay_s` to `longest_delay_s`."""

    attempts: int = 5
    first_delay_s: float = 0.5
    longest_delay_s: float = 60

    def delay_s(self, failures: int, *, asked_s: float | None = None, jitter: float = 0) -> float | None:
        """Seconds to wait after so many failures in a row; None when it is time to give up.

        A server that asks for more than `longest_delay_s` is not worth waiting for. `jitter`, from 0 to 1, adds up
        to a quarter, so that the clients of a restarted server do not come back in one wave.
        """
        if failures >= self.attempts or (asked_s or 0) > self.longest_delay_s:
            return None
        backoff_s = min(self.first_delay_s * 2 ** (failures - 1), self.longest_delay_s)
        return max(backoff_s, asked_s or 0) * (1 + jitter / 4)


class Tries:
    """Counts the failures in a row of one undertaking."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._failures = 0

    def progressed(self) -> None:
        self._failures = 0

    async def wait_after(self, error: PhoenixProblem | PhoenixUnreachable) -> None:
        """Sleeps until the next try; raises `error` if it is final, or patience is at an end."""
        asked_s = None
        if isinstance(error, PhoenixProblem):
            if error.status not in TRANSIENT_STATUSES:
                raise error
            asked_s = error.retry_after_s
        self._failures += 1
        delay_s = self.patience.delay_s(self._failures, asked_s=asked_s, jitter=random.random())
        if delay_s is None:
            raise error
        await anyio.sleep(delay_s)
