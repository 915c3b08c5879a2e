"""One worker process: its command line, its start and its shutdown.

It has an event loop, a bounded pool of threads, and a thread that renews the leases.
"""

import argparse
import asyncio
import math
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from phoenix.async_tasks import in_background
from phoenix.catalog.catalog import Catalog, CatalogError
from phoenix.child_processes import follow_lifeline
from phoenix.contract import QueueName
from phoenix.db import Database
from phoenix.engine.device import NoSuchDevice, keep_compiled_code, may_have_accelerator, pick_devices, worker_memory
from phoenix.engine.host_memory import keep_freed_memory
from phoenix.engine.registry import EngineRegistry
from phoenix.errors import TaskFailed, Unavailable
from phoenix.events.pubsub.notifier import Notifier
from phoenix.events.pubsub.subscriber import PubSubSubscriber
from phoenix.ids import new_worker_id
from phoenix.jobs.scheduling.workers import WorkerPhase, WorkerReport, record_heartbeat, remove
from phoenix.media.credentials.signing import CertificateUnusable, SigningCertificate, check_signing, load_certificate
from phoenix.media.encoders import EncoderUnusable, choose_encoder
from phoenix.media.ffmpeg import FfmpegMissing
from phoenix.media.self_test import FfmpegUnusable, run_shared_self_test
from phoenix.private_files import keep_files_private
from phoenix.queues.consumer import QueueConsumer
from phoenix.queues.queue import wake_channel
from phoenix.services import Services, open_database, open_services
from phoenix.settings import Settings, load_settings
from phoenix.telemetry.error_reports import report_errors
from phoenix.telemetry.logs import configure_logs, get_logger, log_context
from phoenix.telemetry.spans import tracing
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.context import WorkerContext, open_worker_context
from phoenix.worker.leases import LeaseHeartbeat, LeaseTerms
from phoenix.worker.orders import WorkerSteering
from phoenix.worker.runner import AttemptOutcome, Runner
from phoenix.worker.shutdown import Consumers, ShutdownState, drain, resident_bytes
from phoenix.worker.warmup import warm_up_models

_logger = get_logger(__name__)

NAMES = ("gpu", "remote", "media", "all")

SILENT_START_S = 300.0
"""For how long a worker may be silent while it starts. From its first heartbeat on, its lease counts."""

UNFIT_SHOWN_S = 60.0
"""For how long operators see a worker that has ended unfit: longer than its supervisor waits before the next start."""

UNUSABLE = (CatalogError, CertificateUnusable, EncoderUnusable, FfmpegMissing, FfmpegUnusable, NoSuchDevice)
"""Errors that every start with the same settings would raise."""


def main(given: Sequence[str] | None = None) -> int:
    """Runs the worker process with these arguments, or else with its command line. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m phoenix.worker", description="One worker process.")
    parser.add_argument("--queue", choices=NAMES, default="all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--worker-id", default=None)
    parser.add_argument("--shared-dir", type=Path, default=None)
    arguments = parser.parse_args(given)
    keep_files_private()
    settings = load_settings()
    queues = queues_of(arguments.queue, settings)
    if "gpu" in queues and (set(arguments.device.split("+")) == {"cpu"} or not may_have_accelerator()):
        # Before the first thread.
        keep_freed_memory()
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    follow_lifeline(lambda: os._exit(ExitStatus.ORPHANED))
    keep_compiled_code(os.environ, compiled_dir_of(settings))
    plan = WorkerPlan(queues, arguments.device, arguments.worker_id or new_worker_id(), arguments.shared_dir)
    report_errors("phoenix-worker")
    try:
        with tracing("phoenix-worker"):
            return asyncio.run(_serve_until_signal(settings, plan))
    except UNUSABLE as error:
        _logger.critical("the worker cannot start", error=error.detail)
        return ExitStatus.UNUSABLE


def compiled_dir_of(settings: Settings) -> Path:
    """Where torch keeps the code that it compiled."""
    return (settings.engine.compiled_dir or settings.data_dir / "compiled").absolute()


def queues_of(name: str, settings: Settings) -> tuple[QueueName, ...]:
    """The queues that `name` stands for. `all` includes the remote queue only if a remote service is configured."""
    match name:
        case "gpu" | "remote" | "media":
            return (name,)
        case _:
            return ("gpu", "remote", "media") if settings.veo.is_configured else ("gpu", "media")


@dataclass(frozen=True)
class WorkerPlan:
    """The queues and the device of one worker process.

    `device`: `auto`, `cpu`, `cuda` or `cuda:N`, or several of them with `+` between. Only the GPU queue uses it.
    `shared_dir`: a folder of all processes of the same supervisor.
    """

    queues: tuple[QueueName, ...]
    device: str = "auto"
    worker_id: str = ""
    shared_dir: Path | None = None

    def slots(self, queue: QueueName, settings: Settings) -> int:
        """The most tasks that may be in their main part at once. Clips of one batch must all be claimed."""
        worker = settings.worker
        match queue:
            case "gpu":
                return worker.max_concurrent_generations * settings.engine.max_batch_size
            case "remote":
                return settings.veo.max_concurrent
            case "media":
                return worker.media_concurrency

    def overlap(self, queue: QueueName, settings: Settings) -> int:
        """The most tasks that may be encoded or stored while the main parts of the next tasks run.

        It grows with the slots: clips that began together, such as a batch, are encoded together too.
        """
        return 0 if queue == "media" else settings.worker.pipeline_depth * self.slots(queue, settings)


async def _serve_until_signal(settings: Settings, plan: WorkerPlan) -> int:
    shutdown = ShutdownState.from_settings(settings.worker)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.request)
    return await serve(settings, plan, shutdown)


async def serve(settings: Settings, plan: WorkerPlan, shutdown: ShutdownState) -> int:
    """Runs tasks until `shutdown` starts to drain. Returns the exit status.

    The worker also starts while Redis or the database is unavailable. Raises the errors of `UNUSABLE`.
    """
    plan = replace(plan, worker_id=plan.worker_id or new_worker_id())
    with log_context(worker_id=plan.worker_id):
        async with open_services(settings, kept_connections=1) as services:
            await _report(services.database, _describe_outside(plan, WorkerPhase.STARTING), lasts_s=SILENT_START_S)
            try:
                devices, certificate = await _check_machine(settings, plan)
                most_tasks = sum(plan.slots(queue, settings) + plan.overlap(queue, settings) for queue in plan.queues)
                context = open_worker_context(
                    services,
                    device=devices[0],
                    other_devices=devices[1:],
                    worker_id=plan.worker_id,
                    most_tasks=most_tasks,
                    certificate=certificate,
                )
                return await _Worker(services, context, shutdown, replace(plan, device="+".join(devices))).serve()
            except (*UNUSABLE, TaskFailed) as error:
                unfit = _describe_outside(plan, WorkerPhase.UNFIT, error.detail)
                await _report(services.database, unfit, lasts_s=UNFIT_SHOWN_S)
                raise


async def _check_machine(settings: Settings, plan: WorkerPlan) -> tuple[tuple[str, ...], SigningCertificate | None]:
    """The devices, and what signs the results. Raises the errors of `UNUSABLE`, and `TaskFailed` for a full disk."""
    devices = pick_devices(plan.device) if "gpu" in plan.queues else ("cpu",)
    tools, choice = await asyncio.to_thread(choose_encoder, settings.media, device=devices[0])
    _logger.info("encoder chosen", encoder=choice.encoder, reason=choice.reason)
    await asyncio.to_thread(run_shared_self_test, tools, plan.shared_dir)
    return devices, await asyncio.to_thread(_open_certificate, settings) if "media" in plan.queues else None


def _describe_outside(plan: WorkerPlan, phase: WorkerPhase, fault: str | None = None) -> WorkerReport:
    """Describes a process that has no slots yet, or none any more."""
    slots: dict[str, int] = dict.fromkeys(plan.queues, 0)
    return WorkerReport(plan.worker_id, socket.gethostname(), os.getpid(), plan.device, slots, phase=phase, fault=fault)


async def _report_start(database: Database, plan: WorkerPlan) -> None:
    """Reports for ever that the process starts: to warm models up may take longer than it may be silent."""
    while True:
        await asyncio.sleep(SILENT_START_S / 3)
        await _report(database, _describe_outside(plan, WorkerPhase.STARTING), lasts_s=SILENT_START_S)


async def _report(database: Database, report: WorkerReport, *, lasts_s: float) -> None:
    try:
        async with database.write() as uow:
            await record_heartbeat(uow, report, lease_s=lasts_s)
    except Unavailable as error:
        _logger.warning("not registered yet", error=error.detail)


def _open_certificate(settings: Settings) -> SigningCertificate | None:
    certificate = load_certificate(settings.c2pa)
    if certificate is not None:
        check_signing(certificate)
        _logger.info("results are signed", subject=certificate.subject, expires_at=certificate.expires_at)
    return certificate


SERVED_FOR_S = 5.0


class ServedModels:
    """The models that a worker serves. Weights may be downloaded while it runs: it looks again every few seconds."""

    def __init__(
        self,
        catalog: Catalog,
        engines: EngineRegistry,
        queues: Collection[QueueName],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = engines
        self._clock_s = clock_s
        # With the adapters without which a model cannot be rendered.
        self._wanted = tuple(
            (model, catalog.needed_adapters(model))
            for model in catalog
            if ("remote" if model.is_remote else "gpu") in queues
        )
        self._ids: tuple[str, ...] = ()
        self._expires_s = -math.inf

    def list_ids(self) -> tuple[str, ...]:
        """In the order of the catalog."""
        # Each clip causes a heartbeat, and a look at the folders of all models costs more than the heartbeat.
        if self._clock_s() >= self._expires_s:
            self._ids = tuple(model.id for model, needed in self._wanted if self._engines.can_serve(model, needed))
            self._expires_s = self._clock_s() + SERVED_FOR_S
        return self._ids


class _Worker:
    """The parts of a worker process, and the order in which they start and stop."""

    def __init__(self, services: Services, context: WorkerContext, shutdown: ShutdownState, plan: WorkerPlan) -> None:
        settings = services.settings
        self._services = services
        self._context = context
        self._shutdown = shutdown
        self._plan = plan
        self._served = ServedModels(services.catalog, context.engines, plan.queues)
        terms = LeaseTerms(
            settings.scheduler.lease_s, settings.scheduler.heartbeat_s, settings.scheduler.stall_timeout_s
        )
        self._orders = WorkerSteering(context.engines, lambda: self._heartbeat.renew_now(plan.worker_id))
        self._heartbeat = LeaseHeartbeat(
            partial(open_database, settings, kept_connections=1),
            plan.worker_id,
            terms,
            self._describe,
            on_orders=self._orders.take,
        )
        self._runner = Runner(context, self._heartbeat, plan.worker_id, self._record_end)

    async def serve(self) -> int:
        async with PubSubSubscriber(self._services.redis) as subscriber, self._renewing_on_stops(subscriber):
            if "gpu" in self._plan.queues:
                async with in_background(_report_start(self._services.database, self._plan), name="report-start"):
                    await warm_up_models(self._context, self._shutdown)
            # Wakes the dispatcher for its slots, which a heartbeat does not do.
            lease_s = self._services.settings.scheduler.lease_s
            await _report(self._services.database, self._describe(), lasts_s=lease_s)
            self._heartbeat.start()
            async with self._orders.running(), self._consuming(subscriber) as consumers:
                _logger.info("worker started", queues=self._plan.queues, device=self._plan.device)
                await self._shutdown.draining.wait()
                grace_s = self._services.settings.worker.drain_grace_s
                await drain(consumers, self._shutdown, self._heartbeat, grace_s=grace_s)
            await asyncio.to_thread(self._heartbeat.close)
            await self._deregister()
        self._context.close(is_idle=not self._heartbeat.held_leases() and self._context.engines.is_idle)
        _logger.info("worker ended", status=self._shutdown.exit.name)
        return int(self._shutdown.exit)

    @asynccontextmanager
    async def _renewing_on_stops(self, subscriber: PubSubSubscriber) -> AsyncGenerator[None]:
        """Stops canceled tasks at once: a notification causes a renewal, which returns the reason of the stop."""
        async with Notifier(self._services.redis, self._services.channels.stop).subscribe(
            subscriber, self._heartbeat.renew_now
        ):
            yield

    @asynccontextmanager
    async def _consuming(self, subscriber: PubSubSubscriber) -> AsyncGenerator[Consumers]:
        settings, channels = self._services.settings, self._services.channels
        async with AsyncExitStack() as stack:
            consumers: list[QueueConsumer] = []
            for queue in self._plan.queues:
                notifier = Notifier(self._services.redis, wake_channel(channels.prefix, queue))
                consumers.append(
                    QueueConsumer(
                        self._services.redis,
                        channels.prefix,
                        queue,
                        self._runner.claim,
                        slots=self._plan.slots(queue, settings),
                        overlap=self._plan.overlap(queue, settings),
                        lease_s=settings.scheduler.lease_s,
                        wake=await stack.enter_async_context(notifier.wake_event(subscriber)),
                        is_held=self._orders.is_draining,
                    )
                )
            yield Consumers(consumers)

    def _record_end(self, outcome: AttemptOutcome) -> None:
        self._shutdown.record(outcome, may_recycle=not self._orders.is_draining())

    def _describe(self) -> WorkerReport:
        """Describes this worker for the fleet. The heartbeat thread calls it too."""
        memory, host_memory = worker_memory(self._plan.device.split("+")), self._context.engines.host_memory()
        settings, is_draining = self._services.settings, self._shutdown.draining.is_set()
        counts, shortage = self._context.engines.counts(), self._context.reserve.find_shortage()
        slots = {queue: 0 if is_draining else self._plan.slots(queue, settings) for queue in self._plan.queues}
        return WorkerReport(
            worker_id=self._plan.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._plan.device,
            slots=slots,
            serves=self._served.list_ids(),
            models=self._context.engines.loaded_models(),
            memory_used_bytes=memory.used_bytes if memory else None,
            memory_total_bytes=memory.total_bytes if memory else None,
            host_memory_used_bytes=host_memory.used_bytes if host_memory else None,
            host_memory_budget_bytes=host_memory.budget_bytes if host_memory else None,
            resident_bytes=resident_bytes(),
            model_loads=counts.loads,
            model_evictions=counts.evictions,
            memory_fallbacks=counts.fallbacks,
            # Nothing is claimed then.
            fault=shortage.explain() if shortage else None,
        )

    async def _deregister(self) -> None:
        if self._shutdown.exit is ExitStatus.UNFIT:
            unfit = _describe_outside(self._plan, WorkerPhase.UNFIT, self._shutdown.fault)
            await _report(self._services.database, unfit, lasts_s=UNFIT_SHOWN_S)
            return
        try:
            async with self._services.database.write() as uow:
                await remove(uow, self._plan.worker_id)
        except Unavailable as error:
            _logger.warning("not deregistered", error=error.detail)
