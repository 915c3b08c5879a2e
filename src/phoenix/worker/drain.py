"""Whether, how urgently and with which exit status this worker process is to end."""

import asyncio
from collections.abc import Callable

from phoenix.engine.backend import ProcessUnfit
from phoenix.settings import WorkerSettings
from phoenix.telemetry.logs import get_logger
from phoenix.worker.endings import Ending, Failed
from phoenix.worker.exits import Exit
from phoenix.worker.footprint import resident_bytes

_logger = get_logger(__name__)


class Drain:
    """Three degrees: nothing new is begun; what was begun has a grace; it is handed back now.

    To recycle, a worker goes to the first and takes its time; a signal takes it to the second, another to the third.
    `memory_limit_bytes` of `memory_bytes`, looked at after each task, is a reason to recycle; None: there is no limit.
    """

    def __init__(
        self,
        *,
        recycle_after: int,
        memory_limit_bytes: int | None = None,
        memory_bytes: Callable[[], int] = resident_bytes,
    ) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self.at_once = asyncio.Event()
        self.exit = Exit.DONE
        self._tasks_left = recycle_after
        self._memory_limit_bytes = memory_limit_bytes
        self._memory_bytes = memory_bytes

    @classmethod
    def from_settings(cls, settings: WorkerSettings) -> "Drain":
        return cls(recycle_after=settings.recycle_after_tasks, memory_limit_bytes=settings.recycle_rss_bytes)

    def ask(self) -> None:
        """As a signal does."""
        if self.hurried.is_set():
            self.at_once.set()
        self.exit = Exit.DONE
        self.hurried.set()
        self.asked.set()

    def note(self, ending: Ending) -> None:
        """An attempt has ended: so may this process, if it has done its share, has grown too large, or is broken."""
        self._tasks_left -= 1
        if isinstance(ending, Failed) and isinstance(ending.failure, ProcessUnfit):
            self.hurried.set()
            self.at_once.set()
            self._leave(Exit.UNFIT)
        elif self._tasks_left <= 0 or self._has_grown_too_large():
            self._leave(Exit.RECYCLE)

    def _leave(self, status: Exit) -> None:
        if not self.asked.is_set():
            self.exit = status
            self.asked.set()

    def _has_grown_too_large(self) -> bool:
        limit_bytes = self._memory_limit_bytes
        if limit_bytes is None or self.asked.is_set() or (held_bytes := self._memory_bytes()) <= limit_bytes:
            return False
        _logger.warning("the process has grown past its limit", memory_bytes=held_bytes, limit_bytes=limit_bytes)
        return True
