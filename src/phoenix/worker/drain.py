"""Whether, how urgently and with which exit status this worker process should end."""

import asyncio
from collections.abc import Callable

import psutil

from phoenix.engine.backend import ProcessUnfit
from phoenix.settings import WorkerSettings
from phoenix.telemetry.logs import get_logger
from phoenix.worker.child_process import Exit
from phoenix.worker.runner import Ending, Failed


def resident_bytes() -> int:
    """Resident memory of this process, memory-mapped weights included; its ffmpeg children are not."""
    return psutil.Process().memory_info().rss


_logger = get_logger(__name__)


class Drain:
    """Three degrees. `asked`: start nothing new; `hurried`: finish within the grace period; `at_once`: hand back now.

    Recycling goes to the first degree; a signal to the second, another one to the third. After each task, memory of
    more than `memory_limit_bytes` is a reason to recycle; None means no limit.
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
        """What a signal does."""
        if self.hurried.is_set():
            self.at_once.set()
        self.exit = Exit.DONE
        self.hurried.set()
        self.asked.set()

    def note(self, ending: Ending) -> None:
        """An attempt has ended: the process recycles if it has done its share or grown too large, ends if broken."""
        self._tasks_left -= 1
        if isinstance(ending, Failed) and isinstance(ending.failure, ProcessUnfit):
            self.give_up()
        elif self._tasks_left <= 0 or self._has_grown_too_large():
            self._leave(Exit.RECYCLE)

    def give_up(self) -> None:
        """The process is broken: what it renders from now on would be wrong, or fail."""
        self.hurried.set()
        self.at_once.set()
        self._leave(Exit.UNFIT)

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
