"""Starts the engine processes of a service, checks that they answer, and replaces those that end or hang."""

import asyncio
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from phoenix.async_tasks import in_background
from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.child_processes import spawn, stop_process
from phoenix.errors import TaskFailed, Unavailable
from phoenix.frames import messages
from phoenix.frames.frame_queue import FrameQueue
from phoenix.frames.interface import EngineHealth, EngineLost, FrameRequest
from phoenix.frames.messages import EngineMessage
from phoenix.frames.renderer import RendererOptions
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_MOST_UNREAD_BYTES = 1 << 24
_STABLE_AFTER_S, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 0.25, 30.0
_CHECK_INTERVAL_S = 5.0
_LOAD_TIMEOUT_S = 600.0
_END_GRACE_S = 5.0


@dataclass(frozen=True)
class SupervisorOptions:
    """`devices`: one entry per process. `batch_timeout_s`: how long a process may take for an answer."""

    devices: tuple[str, ...]
    renderer: RendererOptions
    batch_timeout_s: float
    log_level: str


def share_cores(threads: int, processes: int) -> int:
    """Returns the threads of each process: what is set, or else its share of the cores."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return threads or max(1, cores // max(1, processes))


class ProcessEngine:
    """A `FrameEngine` in a process that runs. It answers in the order in which it is asked."""

    def __init__(
        self, device: str, process: asyncio.subprocess.Process, link: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        self.device, self._process = device, process
        self._reader, self._writer = link
        self._asked: deque[asyncio.Future[EngineMessage]] = deque()
        self._timeout_s = _LOAD_TIMEOUT_S
        self._reading = asyncio.create_task(self._read())
        self.loaded: set[str] = set()

    @property
    def pid(self) -> int:
        return self._process.pid

    def limit_answers(self, timeout_s: float) -> None:
        """From now on, the process is killed if it takes longer for an answer."""
        self._timeout_s = timeout_s

    async def render(self, model: str, batch: Sequence[FrameRequest]) -> Sequence[bytes]:
        answer = await self._ask(messages.encode_batch(model, batch), self._timeout_s)
        return list(messages.split(answer.payload, answer.header["sizes"]))

    async def load(self, spec: LipModelSpec) -> None:
        """Raises `EngineLost` and `TaskFailed`."""
        await self._ask(messages.encode({"load": spec.model_dump(mode="json")}), _LOAD_TIMEOUT_S)
        self.loaded.add(spec.id)

    async def check(self) -> None:
        """Returns when the process has answered. Raises `EngineLost`."""
        await self._ask(messages.encode({}), self._timeout_s)

    def forget(self, video_id: str) -> None:
        if not self._reading.done():
            self._writer.write(messages.encode({"forget": video_id}))

    async def wait(self) -> None:
        """Returns when the process has ended, or has closed its link."""
        await asyncio.wait({self._reading})

    async def close(self) -> None:
        """Ends the process, when it has made what it was asked for."""
        self._writer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_GRACE_S):
                await self._process.wait()
        # It ignores SIGTERM.
        await stop_process(self._process, grace_s=0)
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _ask(self, message: bytes, timeout_s: float) -> EngineMessage:
        """Raises `EngineLost`, and the `TaskFailed` of the answer."""
        if self._reading.done():
            raise EngineLost
        answered: asyncio.Future[EngineMessage] = asyncio.get_running_loop().create_future()
        self._asked.append(answered)
        self._writer.write(message)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await answered
        except TimeoutError as error:
            _logger.critical("an engine process hangs; it is killed", pid=self.pid, timeout_s=timeout_s)
            with suppress(ProcessLookupError):
                self._process.kill()
            raise EngineLost from error
        messages.raise_failure(answer)
        return answer

    async def _read(self) -> None:
        try:
            while True:
                sizes = await self._reader.readexactly(messages.SIZES.size)
                header_bytes, payload_bytes = messages.SIZES.unpack(sizes)
                body = await self._reader.readexactly(header_bytes + payload_bytes)
                answered = self._asked.popleft()
                if not answered.done():
                    answered.set_result(messages.decode(body, header_bytes))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            while self._asked:
                if not (answered := self._asked.popleft()).done():
                    answered.set_exception(EngineLost())


@dataclass(eq=False)
class _Slot:
    """One process of the plan: which process runs now, and how often it was replaced."""

    device: str
    engine: ProcessEngine | None = None
    restarts: int = 0
    early_deaths: int = 0
    fault: str | None = None
    has_tried: asyncio.Event = field(default_factory=asyncio.Event)

    def find_pause_s(self, uptime_s: float) -> float:
        """Returns how long to wait before the next start: longer with each process in a row that ends early."""
        self.early_deaths = self.early_deaths + 1 if uptime_s < _STABLE_AFTER_S else 0
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self.early_deaths - 1)) if self.early_deaths > 1 else 0.0


class EngineSupervisor:
    """The `EnginePool` of a service with processes."""

    def __init__(self, queue: FrameQueue, options: SupervisorOptions) -> None:
        self._queue, self._options = queue, options
        self._slots = [_Slot(device) for device in options.devices]
        self._specs: dict[str, LipModelSpec] = {}
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._keeping = [asyncio.create_task(self._keep(slot)) for slot in self._slots]
        for slot in self._slots:
            await slot.has_tried.wait()
        if not any(slot.engine for slot in self._slots):
            raise Unavailable(f"no engine process can be started: {self._slots[0].fault}")

    async def load(self, spec: LipModelSpec) -> None:
        self._specs[spec.id] = spec
        engines = [slot.engine for slot in self._slots if slot.engine]
        found = await asyncio.gather(*(engine.load(spec) for engine in engines), return_exceptions=True)
        for error in found:
            # The process that replaces a lost process loads the model.
            if isinstance(error, BaseException) and not isinstance(error, EngineLost):
                del self._specs[spec.id]
                raise error

    def forget(self, video_id: str) -> None:
        for slot in self._slots:
            if slot.engine:
                slot.engine.forget(video_id)

    def health(self) -> tuple[EngineHealth, ...]:
        return tuple(self._describe(slot) for slot in self._slots)

    async def close(self) -> None:
        for task in self._keeping:
            task.cancel()
        if self._keeping:
            await asyncio.wait(self._keeping)

    def _describe(self, slot: _Slot) -> EngineHealth:
        engine = slot.engine
        frames = self._queue.frames_made_by(engine) if engine else 0
        return EngineHealth(slot.device, engine and engine.pid, engine is not None, slot.restarts, frames)

    async def _keep(self, slot: _Slot) -> None:
        while True:
            started_s = time.monotonic()
            try:
                await self._run_one(slot)
            except (OSError, EngineLost, TaskFailed) as error:
                slot.fault = str(error) or repr(error)
                _logger.error("an engine process could not be started", device=slot.device, error=slot.fault)
            slot.has_tried.set()
            slot.restarts += 1
            await asyncio.sleep(slot.find_pause_s(time.monotonic() - started_s))

    async def _run_one(self, slot: _Slot) -> None:
        """Runs one process from its start to its end. Raises `OSError`, `EngineLost` and `TaskFailed` at its start."""
        engine = await self._start(slot.device)
        try:
            await engine.check()
            while missing := [spec for name, spec in self._specs.items() if name not in engine.loaded]:
                await engine.load(missing[0])
            engine.limit_answers(self._options.batch_timeout_s)
            _logger.info("engine process started", pid=engine.pid, device=slot.device)
            slot.engine = engine
            self._queue.join(engine)
            slot.has_tried.set()
            async with in_background(_check_often(engine), name="engine health"):
                await engine.wait()
            _logger.warning("an engine process has ended", pid=engine.pid, device=slot.device)
        finally:
            self._queue.leave(engine)
            slot.engine = None
            await engine.close()

    async def _start(self, device: str) -> ProcessEngine:
        options = self._options
        ours, theirs = socket.socketpair()
        renderer = replace(options.renderer, device=device)
        arguments = [theirs.fileno(), renderer.videos, renderer.device, renderer.threads, renderer.jpeg_quality]
        with ExitStack() as unused:
            unused.enter_context(ours)
            with theirs:
                process = await spawn(
                    [sys.executable, "-m", "phoenix.frames.engine_process", *map(str, arguments), options.log_level],
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(renderer.threads)},
                    pass_fds=(theirs.fileno(),),
                )
            link = await asyncio.open_unix_connection(sock=ours, limit=_MOST_UNREAD_BYTES)
            unused.pop_all()
        return ProcessEngine(device, process, link)


async def _check_often(engine: ProcessEngine) -> None:
    with suppress(EngineLost, TaskFailed):
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            await engine.check()
