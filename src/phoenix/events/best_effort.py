"""Calls to Redis that may fail: publishing is a courtesy, and the log in SQL makes up for what gets lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)
_T = TypeVar("_T")

# After a time-out Redis is assumed to be frozen and not called for this long: otherwise every publication of a busy
# process would wait for the socket's time limit.
_PAUSE_AFTER_TIMEOUT_S = 1.0
_LOG_INTERVAL_S = 5.0


class BestEffort:
    """Runs calls to Redis, each for at most `time_limit_s`, and never raises because Redis is away."""

    def __init__(self, time_limit_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._time_limit_s = time_limit_s
        self._clock_s = clock_s
        self._paused_until_s = 0.0
        self._quiet_until_s = 0.0

    async def attempt(self, call: Callable[[], Awaitable[_T]], *, otherwise: _T) -> _T:
        """What `call` returns, or `otherwise` while Redis is away."""
        if self._clock_s() < self._paused_until_s:
            return otherwise
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await call()
        except (RedisTimeoutError, TimeoutError) as error:
            self._paused_until_s = self._clock_s() + _PAUSE_AFTER_TIMEOUT_S
            self._report(error)
        except (RedisError, OSError) as error:
            self._report(error)
        return otherwise

    def _report(self, error: Exception) -> None:
        now_s = self._clock_s()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _LOG_INTERVAL_S
            _logger.warning("redis is away; streams follow the log in SQL", error=repr(error))
