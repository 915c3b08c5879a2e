"""One worker process: an event loop, a bounded pool of threads, and a thread that renews the leases."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from phoenix.assembly.services import Services, open_database, open_services
from phoenix.contract.fleet import QueueName
from phoenix.engine.cancellation import StopReason
from phoenix.engine.device import device_memory, pick_device
from phoenix.errors import Unavailable
from phoenix.events.pubsub.notifier import Notifier
from phoenix.events.pubsub.subscriber import PubSubSubscriber
from phoenix.ids import new_worker_id
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat, remove
from phoenix.queues.consumer import QueueConsumer
from phoenix.settings import Settings
from phoenix.telemetry.logs import get_logger, log_context
from phoenix.worker.child_process import STOP_GRACE_S
from phoenix.worker.context import WorkerContext, open_worker_context
from phoenix.worker.drain import ShutdownState
from phoenix.worker.leases import LeaseHeartbeat, LeaseTerms
from phoenix.worker.runner import Runner
from phoenix.worker.warmup import warm_up_models


class Consumers:
    """Starts all of them; they run until they are paused and their work has ended."""

    def __init__(self, consumers: Sequence[QueueConsumer]) -> None:
        self._consumers = consumers
        self._running = [asyncio.create_task(listener.run()) for listener in consumers]

    def pause(self) -> None:
        for listener in self._consumers:
            listener.drain()

    async def end_within(self, seconds: float | None, *, unless: asyncio.Event | None = None) -> bool:
        """Waits for all work to end, for at most `seconds`, and until `unless` is set. Returns whether it has ended."""
        ended = asyncio.create_task(asyncio.wait(self._running))
        interrupted = asyncio.create_task((unless or asyncio.Event()).wait())
        await asyncio.wait({ended, interrupted}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (ended, interrupted):
            waiting.cancel()
        return all(task.done() for task in self._running)


_logger = get_logger(__name__)


@dataclass(frozen=True)
class WorkerPlan:
    """The part of one worker process. `device`: `auto`, `cpu`, `cuda` or `cuda:N`; only matters for the GPU queue."""

    queues: tuple[QueueName, ...]
    device: str = "auto"
    worker_id: str = ""

    def slots(self, queue: QueueName, settings: Settings) -> int:
        """Most tasks in their main part at once. Clips that shall share a call must all be claimed."""
        worker = settings.worker
        match queue:
            case "gpu":
                return worker.max_concurrent_generations * settings.engine.max_batch_size
            case "remote":
                return settings.veo.max_concurrent
            case "media":
                return worker.media_concurrency

    def overlap(self, queue: QueueName, settings: Settings) -> int:
        return 0 if queue == "media" else settings.worker.pipeline_depth


def run_worker(settings: Settings, plan: WorkerPlan) -> int:
    """Serves until a signal, or until it is time to recycle. Returns the exit status.

    A thread that hangs would keep the interpreter from exiting: end the process with `os._exit`.
    """
    return asyncio.run(_serve_until_signal(settings, plan))


async def _serve_until_signal(settings: Settings, plan: WorkerPlan) -> int:
    shutdown = ShutdownState.from_settings(settings.worker)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.request)
    return await serve(settings, plan, shutdown)


async def serve(settings: Settings, plan: WorkerPlan, shutdown: ShutdownState) -> int:
    """Serves until `shutdown` starts to drain. Neither Redis nor the database need be available at the start."""
    worker_id = plan.worker_id or new_worker_id()
    device = pick_device(plan.device) if "gpu" in plan.queues else "cpu"
    most_tasks = sum(plan.slots(queue, settings) + plan.overlap(queue, settings) for queue in plan.queues)
    with log_context(worker_id=worker_id):
        async with open_services(settings, kept_connections=1) as services:
            context = open_worker_context(services, device=device, worker_id=worker_id, most_tasks=most_tasks)
            worker = _Worker(services, context, shutdown, WorkerPlan(plan.queues, device, worker_id))
            return await worker.serve()


class _Worker:
    """The parts of a worker process, and the order in which they start and stop."""

    def __init__(self, services: Services, context: WorkerContext, shutdown: ShutdownState, plan: WorkerPlan) -> None:
        settings = services.settings
        self._services = services
        self._context = context
        self._shutdown = shutdown
        self._plan = plan
        terms = LeaseTerms(
            settings.scheduler.lease_s, settings.scheduler.heartbeat_s, settings.scheduler.stall_timeout_s
        )
        self._heartbeat = LeaseHeartbeat(
            partial(open_database, settings, kept_connections=1), plan.worker_id, terms, self._describe
        )
        self._runner = Runner(context, self._heartbeat, plan.worker_id, shutdown.record)

    async def serve(self) -> int:
        async with PubSubSubscriber(self._services.redis) as subscriber, self._renewing_on_stops(subscriber):
            if "gpu" in self._plan.queues:
                await warm_up_models(self._context, self._shutdown)
            await self._register()
            self._heartbeat.start()
            async with self._consuming(subscriber) as consumers:
                _logger.info("worker started", queues=self._plan.queues, device=self._plan.device)
                await self._shutdown.draining.wait()
                await self._drain(consumers)
            await asyncio.to_thread(self._heartbeat.close)
            await self._deregister()
        self._context.close(is_idle=not self._heartbeat.held_leases() and self._context.engines.is_idle)
        _logger.info("worker ended", status=self._shutdown.exit.name)
        return int(self._shutdown.exit)

    @asynccontextmanager
    async def _renewing_on_stops(self, subscriber: PubSubSubscriber) -> AsyncGenerator[None]:
        """Makes cancels prompt: a notification causes a renewal, which brings the reason."""
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
                notifier = Notifier(self._services.redis, channels.wake(queue))
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
                    )
                )
            yield Consumers(consumers)

    async def _drain(self, consumers: Consumers) -> None:
        """Stops picking messages, lets running tasks finish while there is time, then stops and hands them back."""
        consumers.pause()
        if await consumers.end_within(None, unless=self._shutdown.grace_started):
            return
        grace_s = self._services.settings.worker.drain_grace_s
        if await consumers.end_within(grace_s, unless=self._shutdown.immediate):
            return
        self._heartbeat.stop_all(StopReason.PREEMPT)
        if not await consumers.end_within(STOP_GRACE_S):
            _logger.error("work that does not stop is abandoned", tasks=len(self._heartbeat.held_leases()))

    def _describe(self) -> WorkerReport:
        """Also called from the heartbeat's thread."""
        memory = device_memory(self._plan.device)
        settings, is_draining = self._services.settings, self._shutdown.draining.is_set()
        slots = {queue: 0 if is_draining else self._plan.slots(queue, settings) for queue in self._plan.queues}
        return WorkerReport(
            worker_id=self._plan.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._plan.device,
            slots=slots,
            serves=self._list_served(),
            models=self._context.engines.loaded_models(),
            memory_used_bytes=memory.used_bytes if memory else None,
            memory_total_bytes=memory.total_bytes if memory else None,
        )

    def _list_served(self) -> tuple[str, ...]:
        """Asked anew each time: weights may be downloaded while the worker runs."""
        return tuple(
            model.id
            for model in self._services.catalog
            if ("remote" if model.is_remote else "gpu") in self._plan.queues and self._context.engines.can_serve(model)
        )

    async def _register(self) -> None:
        """Before the first heartbeat, which publishes nothing: so the dispatcher hears of the new slots at once."""
        described = self._describe()
        try:
            async with self._services.database.write() as uow:
                await record_heartbeat(uow, described, lease_s=self._services.settings.scheduler.lease_s)
        except Unavailable as error:
            _logger.warning("not registered yet", error=error.detail)

    async def _deregister(self) -> None:
        try:
            async with self._services.database.write() as uow:
                await remove(uow, self._plan.worker_id)
        except Unavailable as error:
            _logger.warning("not deregistered", error=error.detail)
