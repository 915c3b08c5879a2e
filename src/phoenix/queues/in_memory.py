"""A task queue in memory, for tests: the reference for the task queue in Redis."""

from collections.abc import Sequence

from phoenix.queues.queue import DispatchMessage


class MemoryTaskQueue:
    """Keeps messages in order until they are taken. `wipe` loses all of them, like a flushed Redis."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[DispatchMessage, None]] = {}
        self._is_new = True

    async def enqueue(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        entries = self._waiting.setdefault(queue, {})
        for message in messages:
            entries.setdefault(message)

    async def revoke(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        for message in messages:
            self._waiting.get(queue, {}).pop(message, None)

    async def find_missing(self, queue: str, messages: Sequence[DispatchMessage]) -> list[DispatchMessage]:
        entries = self._waiting.get(queue, {})
        return [message for message in messages if message not in entries]

    async def was_wiped(self) -> bool:
        was_new, self._is_new = self._is_new, False
        return was_new

    def waiting(self, queue: str) -> list[DispatchMessage]:
        """The messages that were not taken yet, in order."""
        return list(self._waiting.get(queue, {}))

    def take(self, queue: str) -> DispatchMessage | None:
        """Removes and returns the first message; None if the queue is empty."""
        entries = self._waiting.get(queue)
        if not entries:
            return None
        first = next(iter(entries))
        del entries[first]
        return first

    def wipe(self) -> None:
        self._waiting = {}
        self._is_new = True
