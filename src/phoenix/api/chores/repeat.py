"""Runs a chore for as long as the application runs: it never dies of an error, and does not fill the log with one."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from phoenix.api.chores.duty import Duty
from phoenix.errors import PhoenixError, Unavailable
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_DROP_TIME_LIMIT_S = 2.0


@asynccontextmanager
async def repeated(
    duty: Duty, once: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    """Calls `once` in a task while entered, and `pause` between two calls. Drops the duty at the end."""
    resting = asyncio.Event()
    task = asyncio.create_task(_repeat(duty, once, pause, resting), name=f"chore-{duty.name}")
    try:
        yield
    finally:
        # A statement that is cut off in the middle costs its connection, and may still be running when the loop ends.
        with suppress(TimeoutError):
            async with asyncio.timeout(_DROP_TIME_LIMIT_S):
                await resting.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(PhoenixError, TimeoutError):
            async with asyncio.timeout(_DROP_TIME_LIMIT_S):
                await duty.drop()


async def _repeat(
    duty: Duty,
    once: Callable[[], Awaitable[None]],
    pause: Callable[[], Awaitable[None]],
    resting: asyncio.Event,
) -> None:
    failures = 0
    while True:
        resting.clear()
        try:
            if await duty.is_ours():
                await once()
        except Unavailable as error:
            failures += 1
            if failures == 1:
                _logger.warning("chore is held up", chore=duty.name, error=error.detail)
        except Exception:
            failures += 1
            if failures == 1:
                _logger.exception("chore failed", chore=duty.name)
        else:
            if failures:
                _logger.info("chore goes on", chore=duty.name, failures=failures)
            failures = 0
            resting.set()
            await pause()
            continue
        delay_s = min(_FIRST_DELAY_S * 2 ** min(failures - 1, 10), _LONGEST_DELAY_S)
        resting.set()
        await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
