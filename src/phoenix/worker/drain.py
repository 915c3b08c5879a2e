"""Whether, how urgently and with which exit status this worker process is to end."""

import asyncio

from phoenix.engine.backend import ProcessUnfit
from phoenix.worker.endings import Ending, Failed
from phoenix.worker.exits import Exit


class Drain:
    """Three degrees: nothing new is begun; what was begun has a grace; it is handed back now.

    To recycle, a worker goes to the first and takes its time; a signal takes it to the second, another to the third.
    """

    def __init__(self, *, recycle_after: int) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self.at_once = asyncio.Event()
        self.exit = Exit.DONE
        self._tasks_left = recycle_after

    def ask(self) -> None:
        """As a signal does."""
        if self.hurried.is_set():
            self.at_once.set()
        self.exit = Exit.DONE
        self.hurried.set()
        self.asked.set()

    def note(self, ending: Ending) -> None:
        """An attempt has ended: so may this process, if it has done its share or is broken."""
        self._tasks_left -= 1
        is_unfit = isinstance(ending, Failed) and isinstance(ending.failure, ProcessUnfit)
        if is_unfit:
            self.hurried.set()
            self.at_once.set()
        if (is_unfit or self._tasks_left <= 0) and not self.asked.is_set():
            self.exit = Exit.RECYCLE
            self.asked.set()
