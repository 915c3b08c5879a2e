"""Repeats a chore for as long as the application runs. Survives every error, and logs a repeated one only once."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from phoenix.api.background.leader import Duty
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
    """During the block, calls `once` in a task while this replica has the duty, and `pause` after each call."""
    resting = asyncio.Event()
    task = asyncio.create_task(_repeat(duty, once, pause, resting), name=f"chore-{duty.name}")
    try:
        yield
    finally:
        # Cancelling in the middle of a statement costs its connection, and it may still run when the loop closes.
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
        failures = await _try_once(duty, once, failures)
        resting.set()
        if failures:
            delay_s = min(_FIRST_DELAY_S * 2 ** min(failures - 1, 10), _LONGEST_DELAY_S)
            await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
        else:
            await pause()


async def _try_once(duty: Duty, once: Callable[[], Awaitable[None]], failures: int) -> int:
    """Returns the number of failures in a row, `failures` of them before this try."""
    try:
        if await duty.is_ours():
            await once()
    except Unavailable as error:
        if not failures:
            _logger.warning("chore is held up", chore=duty.name, error=error.detail)
        return failures + 1
    except Exception:
        if not failures:
            _logger.exception("chore failed", chore=duty.name)
        return failures + 1
    if failures:
        _logger.info("chore goes on", chore=duty.name, failures=failures)
    return 0
