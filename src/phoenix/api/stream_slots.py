"""Counts the streams that a key has open. Routes ask for a slot in their decorator, and hold it until the end."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from phoenix.api import running as opened
from phoenix.api.dependencies import Running
from phoenix.api.stream_access import StreamOwner, StreamReader


async def hold_job_stream(running: Running, owner: StreamOwner) -> AsyncGenerator[None]:
    """For a stream of one job. Raises `RateLimited`."""
    async with AsyncExitStack() as held:
        await _hold(held, running, owner)
        yield


async def hold_stream(running: Running, owner: StreamReader) -> AsyncGenerator[None]:
    """For a stream of all of the caller's jobs. Raises `RateLimited`."""
    async with AsyncExitStack() as held:
        await _hold(held, running, owner)
        yield


async def _hold(held: AsyncExitStack, running: opened.Running, owner_id: str | None) -> None:
    # Whose stream it is cannot be told while the database is away; it then only asks to come back.
    if owner_id is not None:
        await held.enter_async_context(running.open_streams.held(owner_id))
