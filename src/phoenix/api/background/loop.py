"""Runs a background service for as long as the application runs. Survives every error, and logs a repeated one once."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from phoenix.api.background.leader import LeaderLease
from phoenix.async_tasks import in_background
from phoenix.errors import PhoenixError, Unavailable
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_DROP_TIMEOUT_S = 2.0


@asynccontextmanager
async def leader_loop(
    lease: LeaderLease, run_once: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    """During the block, calls `run_once` in a task while this replica holds the lease, and `pause` after each call."""
    idle = asyncio.Event()
    try:
        async with in_background(_loop(lease, run_once, pause, idle), name=f"background-{lease.name}"):
            try:
                yield
            finally:
                # A cancel in the middle of a statement costs its connection, and the statement may still run when
                # the event loop closes.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DROP_TIMEOUT_S):
                        await idle.wait()
    finally:
        with suppress(PhoenixError, TimeoutError):
            async with asyncio.timeout(_DROP_TIMEOUT_S):
                await lease.release()


async def _loop(
    lease: LeaderLease,
    run_once: Callable[[], Awaitable[None]],
    pause: Callable[[], Awaitable[None]],
    idle: asyncio.Event,
) -> None:
    failures = 0
    while True:
        idle.clear()
        failures = await _try_once(lease, run_once, failures)
        idle.set()
        if failures:
            delay_s = min(_FIRST_DELAY_S * 2 ** min(failures - 1, 10), _LONGEST_DELAY_S)
            await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
        else:
            await pause()


async def _try_once(lease: LeaderLease, run_once: Callable[[], Awaitable[None]], failures: int) -> int:
    """Returns the number of failures in a row, `failures` of them before this try."""
    try:
        if await lease.try_acquire_or_renew():
            await run_once()
    except Unavailable as error:
        if not failures:
            _logger.warning("background service stalled", service=lease.name, error=error.detail)
        return failures + 1
    except Exception:
        if not failures:
            _logger.exception("background service failed", service=lease.name)
        return failures + 1
    if failures:
        _logger.info("background service recovered", service=lease.name, failures=failures)
    return 0
