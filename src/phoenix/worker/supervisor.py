"""Starts worker processes, replaces dead ones, and hands the tasks of a dead process back at once.

The supervisor itself stays small: it renders nothing, and imports neither torch nor an engine.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError
from tempfile import TemporaryDirectory

from phoenix.child_processes import Child, spawn, stop_process
from phoenix.child_processes.fork_server import ForkServer, ForkServerEnded
from phoenix.db.unit_of_work import Database
from phoenix.errors import NewerVersionError, Unavailable
from phoenix.ids import new_worker_id
from phoenix.jobs.execution.recovery import list_running_on, recover_from_lost_worker
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.scheduling import workers
from phoenix.services import open_services
from phoenix.settings import Settings
from phoenix.telemetry.logs import get_logger
from phoenix.worker.child_process import STOP_GRACE_S, ExitStatus, child_environment
from phoenix.worker.context import Scratch

_LONGEST_S = 30.0
_STABLE_AFTER_S = 10.0


@dataclass(frozen=True)
class Backoff:
    """The delay before the next start. It doubles with every child in a row that dies early."""

    first_s: float
    early_deaths: int = 0
    is_unusable: bool = False

    def after(self, *, uptime_s: float, is_recycling: bool, is_unusable: bool = False) -> "Backoff":
        """The backoff after a child has ended. A child that recycles or ran long enough has not died early.

        After a child with unusable settings the delay is the longest: only an operator can correct them.
        """
        is_early = not is_recycling and uptime_s < _STABLE_AFTER_S
        return Backoff(self.first_s, self.early_deaths + 1 if is_early else 0, is_unusable)

    @property
    def delay_s(self) -> float:
        """Seconds to wait. 0 after a child that recycled or ran long enough."""
        if self.is_unusable:
            return _LONGEST_S
        return min(self.first_s * 2 ** (self.early_deaths - 1), _LONGEST_S) if self.early_deaths else 0.0


class SilenceWatch:
    """Decides when a worker process hangs: it has reported once, and then nothing for `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._has_reported = False
        self._silent_since_s: float | None = None

    def observe(self, now_s: float, *, is_live: bool) -> bool:
        """Whether the process hangs. `is_live`: whether its last heartbeat has not expired."""
        if is_live or not self._has_reported:
            self._has_reported |= is_live
            self._silent_since_s = None
            return False
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        return now_s - self._silent_since_s > self._limit_s

    def forget(self) -> None:
        """Starts again: a process cannot report while the database is away."""
        self._silent_since_s = None


_logger = get_logger(__name__)

_MARGIN_S = 5.0
"""Seconds that a child gets in addition to its own limits before it is killed."""


@dataclass(frozen=True)
class ProcessSpec:
    """One worker process that the supervisor keeps running."""

    queue: str
    """`gpu`, `remote`, `media` or `all`."""
    device: str = "auto"
    processes_on_device: int = 1
    """Processes on the device, this one included. They share its model memory equally, and take turns."""


def plan_processes(queue: str, devices: Sequence[str], processes_per_device: int = 1) -> list[ProcessSpec]:
    """The processes to run. A queue that needs no device gets one process.

    An entry of `devices` may name several devices, separated by commas.
    """
    if queue in ("remote", "media"):
        return [ProcessSpec(queue, "cpu")]
    names = [name.strip() for given in devices for name in given.split(",") if name.strip()]
    return [ProcessSpec(queue, name, processes_per_device) for name in names for _ in range(processes_per_device)]


def run_supervisor(settings: Settings, specs: Sequence[ProcessSpec], fork_server: ForkServer | None = None) -> int:
    """Supervises until a signal arrives, or until no process can use its settings. Returns the exit status."""
    return asyncio.run(_supervise_until_signal(settings, specs, fork_server))


async def _supervise_until_signal(
    settings: Settings, specs: Sequence[ProcessSpec], fork_server: ForkServer | None
) -> int:
    stop, immediate = asyncio.Event(), asyncio.Event()

    def ask() -> None:
        (immediate if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    return await supervise(settings, specs, stop, immediate, fork_server)


async def supervise(
    settings: Settings,
    specs: Sequence[ProcessSpec],
    stop: asyncio.Event,
    immediate: asyncio.Event | None = None,
    fork_server: ForkServer | None = None,
) -> ExitStatus:
    """Keeps every process running until `stop` is set, then drains all of them. `immediate` ends the draining early.

    Without a `fork_server`, and after its end, each process is a new interpreter.
    Returns `ExitStatus.UNUSABLE` without a `stop` once every process of a queue has found its settings unusable.
    """
    with TemporaryDirectory(prefix="phoenix-workers-") as folder:
        shared_dir = Path(folder)
        async with open_services(settings, kept_connections=1) as services, asyncio.TaskGroup() as group:
            supervisors = [
                _ProcessSupervisor(
                    services.database,
                    spec,
                    settings_for(spec, settings, shared_dir),
                    shared_dir,
                    stop,
                    immediate or asyncio.Event(),
                    fork_server,
                )
                for spec in specs
            ]

            def end_if_none_has_worked() -> None:
                # While one process works, the others are started again now and then: a device may come back.
                if has_unserved_queue(supervisors):
                    _logger.critical("no worker process can use its settings; the supervisor ends")
                    stop.set()

            for supervisor in supervisors:
                group.create_task(supervisor.run(end_if_none_has_worked))
    return ExitStatus.UNUSABLE if has_unserved_queue(supervisors) else ExitStatus.DONE


def has_unserved_queue(supervisors: "Sequence[_ProcessSupervisor]") -> bool:
    """Whether every process of some queue has found its settings unusable."""
    return any(
        all(each.has_never_worked for each in supervisors if each.queue in (wanted, "all"))
        for wanted in {supervisor.queue for supervisor in supervisors}
    )


class _ProcessSupervisor:
    """Keeps one process running. `has_never_worked`: every child so far found its settings unusable."""

    def __init__(
        self,
        database: Database,
        spec: ProcessSpec,
        settings: Settings,
        shared_dir: Path,
        stop: asyncio.Event,
        immediate: asyncio.Event,
        fork_server: ForkServer | None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._spec = spec
        self._shared_dir = shared_dir
        self._stop = stop
        self._immediate = immediate
        self._fork_server = fork_server
        self._environment = child_environment(settings)
        self._has_worked = False
        self._last_worker_id = ""
        self.has_never_worked = False
        self.queue = spec.queue

    async def run(self, on_never_worked: Callable[[], None]) -> None:
        backoff = Backoff(self._settings.worker.restart_delay_s)
        while not self._stop.is_set():
            started_s = time.monotonic()
            status = await self._run_child()
            uptime_s = time.monotonic() - started_s
            is_unusable = status == ExitStatus.UNUSABLE
            backoff = backoff.after(
                uptime_s=uptime_s, is_recycling=status == ExitStatus.RECYCLE, is_unusable=is_unusable
            )
            self._has_worked |= status is not None and not is_unusable
            self.has_never_worked = is_unusable and not self._has_worked
            if self.has_never_worked:
                on_never_worked()
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.delay_s):
                    await self._stop.wait()

    async def _run_child(self) -> int | None:
        """Runs one child from its start to its end. Returns its exit status, or None if it could not be started."""
        worker_id = new_worker_id()
        try:
            child = await self._start(worker_id)
        except (OSError, SubprocessError) as error:
            # The other children go on. Memory or processes may be exhausted, or Python is just being replaced.
            _logger.error("worker process could not be started", error=repr(error), **vars(self._spec))
            return None
        _logger.info("worker process started", worker_id=worker_id, pid=child.pid, **vars(self._spec))
        try:
            status = await self._watch(child, worker_id)
        finally:
            if child.returncode is None:
                await stop_process(child, grace_s=0)
        if not self._stop.is_set() or status != ExitStatus.DONE:
            _logger.warning("worker process ended", worker_id=worker_id, status=status)
        await self._clean_up(worker_id)
        return status

    async def _start(self, worker_id: str) -> Child:
        """Raises `OSError` or `SubprocessError` if there is no process to be had."""
        arguments = ["--queue", self._spec.queue, "--device", self._spec.device, "--worker-id", worker_id]
        arguments += ["--shared-dir", str(self._shared_dir)]
        if self._fork_server is not None:
            try:
                return await self._fork_server.spawn(arguments, env=self._environment)
            except ForkServerEnded:
                _logger.warning("the fork server was killed: worker processes import their modules themselves")
                self._fork_server = None
        return await spawn([sys.executable, "-m", "phoenix.worker", *arguments], env=self._environment)

    async def _watch(self, child: Child, worker_id: str) -> int:
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(self._stop.wait())
        hanging = asyncio.create_task(self._wait_until_it_hangs(worker_id))
        await asyncio.wait({ended, stopping, hanging}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        hanging.cancel()
        if ended.done():
            return await ended
        if hanging.done() and not self._stop.is_set():
            _logger.critical("a worker process hangs; it is killed", worker_id=worker_id, pid=child.pid)
            await stop_process(child, grace_s=0)
        else:
            forwarding = asyncio.create_task(self._forward_second_signal(child))
            grace_s = self._settings.worker.drain_grace_s + STOP_GRACE_S + _MARGIN_S
            await stop_process(child, grace_s=grace_s)
            forwarding.cancel()
        return await ended

    async def _wait_until_it_hangs(self, worker_id: str) -> None:
        """Returns once the process has reported, and then nothing for so long that its tasks are with others.

        A process whose event loop and heartbeat thread both stand still cannot end itself.
        """
        lease_s = self._settings.scheduler.lease_s
        watch = SilenceWatch(lease_s + STOP_GRACE_S)
        while True:
            await asyncio.sleep(lease_s / 2)
            try:
                async with self._database.read() as session:
                    is_live = await workers.is_live(session, worker_id)
            except Unavailable:
                watch.forget()
            else:
                if watch.observe(time.monotonic(), is_live=is_live):
                    return

    async def _forward_second_signal(self, child: Child) -> None:
        """Forwards the second signal to the child, which then hands its tasks back at once."""
        await self._immediate.wait()
        with suppress(ProcessLookupError):
            child.terminate()

    async def _clean_up(self, worker_id: str) -> None:
        """Removes the files and hands back the tasks of a killed child. After an orderly end nothing is left to do."""
        await asyncio.to_thread(Scratch(worker_id).remove)
        scheduler = self._settings.scheduler
        # After this time the lease has expired, and the lease reaper has handed the task back.
        give_up_s = time.monotonic() + scheduler.lease_s
        while time.monotonic() < give_up_s:
            try:
                await hand_back(self._database, worker_id, RetryRule.from_settings(scheduler))
                # If that one was unfit, it was shown until now.
                async with self._database.write() as uow:
                    await workers.remove(uow, self._last_worker_id)
                self._last_worker_id = worker_id
            except Unavailable:
                await asyncio.sleep(0.5)
            else:
                return


def settings_for(spec: ProcessSpec, settings: Settings, slots_dir: Path) -> Settings:
    """The settings of the process that `spec` describes."""
    if spec.processes_on_device == 1:
        return settings
    engine = settings.engine.model_copy(
        update={"device_share": settings.engine.device_share / spec.processes_on_device}
    )
    worker = settings.worker.model_copy(update={"slots_dir": slots_dir})
    return settings.model_copy(update={"engine": engine, "worker": worker})


async def hand_back(database: Database, worker_id: str, rule: RetryRule) -> int:
    """Hands back the tasks of a dead worker. Returns the number of tasks."""
    async with database.read() as session:
        held = await list_running_on(session, worker_id)
    recovered = 0
    for job_id, task_id in held:
        try:
            async with database.write() as uow:
                recovered += await recover_from_lost_worker(uow, job_id, task_id, worker_id, rule)
        except NewerVersionError:
            _logger.warning("a task was left to the lease reaper of a newer version", task_id=task_id)
        except Unavailable:
            raise
        except Exception:
            # The supervisor must survive, and hand back the other tasks.
            _logger.exception("a task could not be handed back", task_id=task_id)
    async with database.write() as uow:
        await workers.remove(uow, worker_id, keeps_unfit=True)
    return recovered
