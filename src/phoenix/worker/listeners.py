"""The listeners of one worker's queues, running together and ending together."""

import asyncio
from collections.abc import Sequence

from phoenix.queues.listener import DoorbellListener


class Listeners:
    """Starts all of them; they run until they are paused and their work has ended."""

    def __init__(self, listeners: Sequence[DoorbellListener]) -> None:
        self._listeners = listeners
        self._running = [asyncio.create_task(listener.run()) for listener in listeners]

    def pause(self) -> None:
        for listener in self._listeners:
            listener.pause()

    async def end_within(self, seconds: float | None, *, unless: asyncio.Event | None = None) -> bool:
        """Waits for all work to end, for at most `seconds`, and until `unless` is set. Returns whether it has ended."""
        ended = asyncio.create_task(asyncio.wait(self._running))
        urged = asyncio.create_task((unless or asyncio.Event()).wait())
        await asyncio.wait({ended, urged}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (ended, urged):
            waiting.cancel()
        return all(task.done() for task in self._running)
