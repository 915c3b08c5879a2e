"""The threads in which tasks compute: as many as there can be tasks, so that none waits for a thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads:
    """A bounded pool. Work that has started cannot be cancelled, only asked to stop through its token."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="task")

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Calls `function` in a thread, whose log lines carry this task's ids."""

        def call() -> _T:
            return context.run(function, *args, **kwargs)

        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Shuts the pool down without waiting. A thread that hangs is left to the end of the process."""
        self._executor.shutdown(wait=False, cancel_futures=True)
