"""Retries until the database is back, so that a worker keeps its results; and awaits that a stop can cancel."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from phoenix.engine.stop_token import StopToken
from phoenix.errors import NewerVersionError, Unavailable
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)
_T = TypeVar("_T")

_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.2, 1.0


async def retry_until_available(attempt: Callable[[], Awaitable[_T]], stop: StopToken | None = None) -> _T:
    """Retries `attempt` until the database is available. Raises `RenderStopped` if `stop` is requested before that."""
    has_warned = False
    while True:
        try:
            return await attempt()
        except NewerVersionError:
            # This version will never be able to read the row.
            raise
        except Unavailable as error:
            if not has_warned:
                _logger.warning("waiting for the database", error=error.detail)
                has_warned = True
        if stop is not None:
            stop.check()
        await asyncio.sleep(random.uniform(_SHORTEST_WAIT_S, _LONGEST_WAIT_S))


async def cancel_on_stop(work: Coroutine[Any, Any, _T], stop: StopToken) -> _T:
    """Awaits `work`. Cancels it and raises `RenderStopped` as soon as `stop` is requested."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)

    def cancel() -> None:
        loop.call_soon_threadsafe(task.cancel)

    with stop.on_stop(cancel):
        try:
            return await task
        except asyncio.CancelledError:
            stop.check()
            raise
