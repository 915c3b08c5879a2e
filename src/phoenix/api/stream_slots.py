"""Dependencies that count a key's open streams: a route holds a slot until its response ends."""

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
    # While the database is away the owner is unknown, and the stream only asks the client to reconnect.
    if owner_id is not None:
        await held.enter_async_context(running.open_streams.held(owner_id))
