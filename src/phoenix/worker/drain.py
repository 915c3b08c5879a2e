"""Whether, how urgently and with which exit status this worker process should end."""

import asyncio
from collections.abc import Callable

import psutil

from phoenix.engine.interface import ProcessUnfit
from phoenix.settings import WorkerSettings
from phoenix.telemetry.logs import get_logger
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.runner import AttemptOutcome, Failed


def resident_bytes() -> int:
    """Resident memory of this process, memory-mapped weights included; its ffmpeg children are not."""
    return psutil.Process().memory_info().rss


_logger = get_logger(__name__)


class ShutdownState:
    """The stages of a shutdown: `draining`, `grace_started` and `immediate`.

    `draining` starts nothing new, `grace_started` finishes within the grace period, and `immediate` hands back now.
    Recycling starts the first stage; a signal starts the second, another signal the third. After each task, memory of
    more than `memory_limit_bytes` is a reason to recycle; None means no limit.
    """

    def __init__(
        self,
        *,
        recycle_after: int,
        memory_limit_bytes: int | None = None,
        memory_bytes: Callable[[], int] = resident_bytes,
    ) -> None:
        self.draining = asyncio.Event()
        self.grace_started = asyncio.Event()
        self.immediate = asyncio.Event()
        self.exit = ExitStatus.DONE
        self._tasks_left = recycle_after
        self._memory_limit_bytes = memory_limit_bytes
        self._memory_bytes = memory_bytes

    @classmethod
    def from_settings(cls, settings: WorkerSettings) -> "ShutdownState":
        return cls(recycle_after=settings.recycle_after_tasks, memory_limit_bytes=settings.recycle_rss_bytes)

    def request(self) -> None:
        """What a signal does."""
        if self.grace_started.is_set():
            self.immediate.set()
        self.exit = ExitStatus.DONE
        self.grace_started.set()
        self.draining.set()

    def record(self, outcome: AttemptOutcome) -> None:
        """An attempt has ended: the process recycles if it has done its share or grown too large, ends if broken."""
        self._tasks_left -= 1
        if isinstance(outcome, Failed) and isinstance(outcome.failure, ProcessUnfit):
            self.abort()
        elif self._tasks_left <= 0 or self._has_grown_too_large():
            self._start_draining(ExitStatus.RECYCLE)

    def abort(self) -> None:
        """The process is broken: what it renders from now on would be wrong, or fail."""
        self.grace_started.set()
        self.immediate.set()
        self._start_draining(ExitStatus.UNFIT)

    def _start_draining(self, status: ExitStatus) -> None:
        if not self.draining.is_set():
            self.exit = status
            self.draining.set()

    def _has_grown_too_large(self) -> bool:
        limit_bytes = self._memory_limit_bytes
        if limit_bytes is None or self.draining.is_set() or (held_bytes := self._memory_bytes()) <= limit_bytes:
            return False
        _logger.warning("the process has grown past its limit", memory_bytes=held_bytes, limit_bytes=limit_bytes)
        return True
