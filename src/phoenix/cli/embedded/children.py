"""Keeps child processes running: restarts a child that ends, gives up on a child that cannot start."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from phoenix.child_processes import spawn, stop_process
from phoenix.errors import PhoenixError


@dataclass(frozen=True)
class ChildSpec:
    """A command to run, its name, and how long it may take to end."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    grace_s: float
    pass_fds: tuple[int, ...] = ()


@dataclass(frozen=True)
class RestartRule:
    """When a child is restarted, and when it counts as unable to start.

    A child cannot start if it dies within `steady_s` for `attempts` times in a row, or ends with a `final` status.
    """

    steady_s: float = 10
    attempts: int = 3
    delay_s: float = 0.5
    final: frozenset[int] = frozenset()

    def next_delay_s(self, early_deaths: int, status: int) -> float | None:
        """Seconds until the next start after `early_deaths` in a row. None to give up."""
        if early_deaths >= self.attempts or status in self.final:
            return None
        return self.delay_s * 2 ** max(0, early_deaths - 1)


class ChildCannotStart(PhoenixError):
    """A child ends each time that it is started."""

    def __init__(self, name: str, status: int) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(f"The {name} cannot start: it {how}. Its messages are above.")


class Children:
    """The running children. `kill` ends them at once."""

    def __init__(self, rule: RestartRule) -> None:
        self._rule = rule
        self._running: set[asyncio.subprocess.Process] = set()

    def kill(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()

    @asynccontextmanager
    async def alive(self, specs: Sequence[ChildSpec]) -> AsyncGenerator[None]:
        """Keeps one process per spec running inside the block, and ends them after it.

        Raises `ChildCannotStart` in an ExceptionGroup as soon as a child cannot start.
        """
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(self._keep_alive(spec), name=spec.name) for spec in specs]
            try:
                yield
            finally:
                for task in keeping:
                    task.cancel()

    async def _keep_alive(self, spec: ChildSpec) -> None:
        early_deaths = 0
        while True:
            started_at_s = time.monotonic()
            status = await self._run_once(spec)
            uptime_s = time.monotonic() - started_at_s
            early_deaths = early_deaths + 1 if uptime_s < self._rule.steady_s else 0
            delay_s = self._rule.next_delay_s(early_deaths, status)
            if delay_s is None:
                raise ChildCannotStart(spec.name, status)
            await asyncio.sleep(delay_s)

    async def _run_once(self, spec: ChildSpec) -> int:
        process = await spawn(spec.argv, env=spec.env, pass_fds=spec.pass_fds)
        self._running.add(process)
        try:
            return await process.wait()
        finally:
            # If the child still runs, the end of the block has cancelled this task.
            await stop_process(process, grace_s=spec.grace_s)
            self._running.discard(process)
