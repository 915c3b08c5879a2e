"""The processes of `phoenix up`, the order of their starts, and their end."""

import asyncio
import math
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from phoenix.cli.console import USAGE
from phoenix.cli.embedded.children import Children, ChildSpec, RestartRule
from phoenix.cli.embedded.redis_server import server_argv, wait_for_redis
from phoenix.errors import PhoenixError
from phoenix.settings import Settings
from phoenix.worker.child_process import STOP_GRACE_S, ExitStatus, child_environment

REDIS_WITHIN_S = 30
READY_WITHIN_S = 60
# In addition to the limit of a child, for its work before and after.
EXTRA_GRACE_S = 6
# With the same settings, the next start would end the same way.
FINAL_STATUSES = frozenset({ExitStatus.UNUSABLE, USAGE})
# Sent by Ctrl-C, by a service manager, and by a closing terminal.
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotReady(PhoenixError):
    """A started process did not become ready in time."""


@dataclass(frozen=True)
class PrivateRedis:
    """The Redis server that runs with the other processes."""

    program: str
    socket: Path


@dataclass(frozen=True)
class Stack:
    """The processes to run. All children get `settings`; the API serves `listener`."""

    settings: Settings
    listener: socket.socket
    url: str
    workers_per_device: int
    redis: PrivateRedis | None
    on_ready: Callable[[], None]

    async def run(self) -> None:
        """Runs until a signal has arrived and all processes have ended. Raises `PhoenixError`."""
        children = Children(RestartRule(final=FINAL_STATUSES))
        stopping = _stop_on_signals(children)
        try:
            await self._run(children, stopping)
        except BaseExceptionGroup as group:
            ours, others = group.split(PhoenixError)
            if ours is None or others is not None:
                raise
            raise _first(ours) from None

    async def _run(self, children: Children, stopping: asyncio.Event) -> None:
        # Redis ends last, because the other processes use it to hand their tasks back.
        async with self._private_redis(children), children.alive([self._api(), self._workers()]):
            ready = asyncio.create_task(self._wait_until_ready())
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done():
                await ready
                self.on_ready()
            ready.cancel()
            await stopped
            # No client must wait in the backlog for an API that will not return.
            self.listener.close()

    @asynccontextmanager
    async def _private_redis(self, children: Children) -> AsyncGenerator[None]:
        if self.redis is None:
            yield
            return
        argv = server_argv(self.redis.program, self.redis.socket, self.settings.data_dir)
        spec = ChildSpec("private Redis", argv, self._environment(), grace_s=EXTRA_GRACE_S)
        async with children.alive([spec]):
            try:
                async with asyncio.timeout(REDIS_WITHIN_S):
                    await wait_for_redis(self.redis.socket)
            except TimeoutError:
                log = self.settings.data_dir / "redis" / "redis.log"
                raise NotReady(f"The private Redis does not answer; see {log}.") from None
            yield

    def _api(self) -> ChildSpec:
        fd = self.listener.fileno()
        argv = (sys.executable, "-m", "phoenix", "api", "--fd", str(fd))
        grace_s = math.ceil(self.settings.api.shutdown_grace_s) + EXTRA_GRACE_S
        return ChildSpec("API process", argv, self._environment(), grace_s, pass_fds=(fd,))

    def _workers(self) -> ChildSpec:
        """One supervisor for all queues: its worker processes share the memory of their modules."""
        queues = ["gpu", "media", *(["remote"] if self.settings.veo.is_configured else [])]
        argv = [sys.executable, "-m", "phoenix", "worker", "--processes-per-device", str(self.workers_per_device)]
        for queue in queues:
            argv += ["--queue", queue]
        grace_s = self.settings.worker.drain_grace_s + STOP_GRACE_S + EXTRA_GRACE_S
        return ChildSpec("worker", tuple(argv), self._environment(), grace_s)

    def _environment(self) -> dict[str, str]:
        return child_environment(self.settings)

    async def _wait_until_ready(self) -> None:
        last_answer = "no answer"
        try:
            async with asyncio.timeout(READY_WITHIN_S), httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
                while True:
                    try:
                        response = await http.get("/health/ready", timeout=READY_WITHIN_S)
                    except httpx.TransportError:
                        # The API process died during this request. Its successor gets the next request.
                        await asyncio.sleep(0.1)
                        continue
                    if response.is_success:
                        return
                    last_answer = response.text
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise NotReady(f"The server is not ready after {READY_WITHIN_S} s: {last_answer}") from None


def _stop_on_signals(children: Children) -> asyncio.Event:
    """An event that the first signal sets. The second signal kills the children."""
    stopping = asyncio.Event()

    def ask() -> None:
        if stopping.is_set():
            children.kill()
        stopping.set()

    for number in ENDING_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, ask)
    return stopping


def _first(group: BaseExceptionGroup[PhoenixError]) -> PhoenixError:
    """The first error of a group. The other errors follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
