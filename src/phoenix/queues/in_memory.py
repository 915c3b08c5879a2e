"""A task queue in memory, for tests: the reference for the one in Redis."""

from collections.abc import Sequence

from phoenix.queues.queue import Doorbell


class MemoryTaskQueue:
    """Keeps doorbells in order until they are taken. `wipe` loses them all, as a flushed Redis does."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Doorbell, None]] = {}
        self._is_new = True

    async def ring(self, queue: str, doorbells: Sequence[Doorbell]) -> None:
        line = self._waiting.setdefault(queue, {})
        for doorbell in doorbells:
            line.setdefault(doorbell)

    async def withdraw(self, queue: str, doorbells: Sequence[Doorbell]) -> None:
        for doorbell in doorbells:
            self._waiting.get(queue, {}).pop(doorbell, None)

    async def find_missing(self, queue: str, doorbells: Sequence[Doorbell]) -> list[Doorbell]:
        line = self._waiting.get(queue, {})
        return [doorbell for doorbell in doorbells if doorbell not in line]

    async def was_wiped(self) -> bool:
        was_new, self._is_new = self._is_new, False
        return was_new

    def waiting(self, queue: str) -> list[Doorbell]:
        """The doorbells that nobody has taken, in order."""
        return list(self._waiting.get(queue, {}))

    def take(self, queue: str) -> Doorbell | None:
        """Answers the first doorbell."""
        line = self._waiting.get(queue)
        if not line:
            return None
        first = next(iter(line))
        del line[first]
        return first

    def wipe(self) -> None:
        self._waiting = {}
        self._is_new = True
