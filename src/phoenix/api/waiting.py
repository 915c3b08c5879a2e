"""Delays a response until a job has ended, for `Prefer: wait`. Woken by events, not by a timer."""

import asyncio
from contextlib import aclosing, suppress

from phoenix.api.dependencies import Running
from phoenix.events.stream import job_stream


async def wait_until_over(running: Running, job_id: str, *, time_limit_s: float) -> None:
    """Returns when the job has ended, after `time_limit_s`, or when this server shuts down."""
    # A stream ends after the terminal event, and recovers it by itself if its message was lost.
    stream = job_stream(running.hub, running.log, job_id, None)
    with suppress(TimeoutError):
        async with asyncio.timeout(time_limit_s), aclosing(stream):
            async for _frames in stream:
                pass
