"""Carries out what administrators ask of this worker: to claim nothing while it drains, and to unload models."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from phoenix.async_tasks import in_background
from phoenix.engine.registry import EngineRegistry
from phoenix.jobs.scheduling.workers import WorkerOrders
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


class WorkerSteering:
    """One per worker process. Each heartbeat brings the orders again, until what it reports shows them done."""

    def __init__(self, engines: EngineRegistry, report: Callable[[], object]) -> None:
        """`report`: makes the worker report at once what it has in memory."""
        self._engines = engines
        self._report = report
        self._orders = WorkerOrders()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_orders = asyncio.Event()

    def is_draining(self) -> bool:
        """Whether the worker must claim nothing."""
        return self._orders.is_draining

    def take(self, orders: WorkerOrders) -> None:
        """Called in the thread of the heartbeat."""
        if orders.is_draining != self._orders.is_draining:
            _logger.info("the worker drains" if orders.is_draining else "the worker claims tasks again")
        self._orders = orders
        if orders.unload and self._loop is not None:
            self._loop.call_soon_threadsafe(self._has_orders.set)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        self._loop = asyncio.get_running_loop()
        async with in_background(self._unload_when_asked(), name="unload-models"):
            yield
        self._loop = None

    async def _unload_when_asked(self) -> None:
        while True:
            await self._has_orders.wait()
            self._has_orders.clear()
            for model_id in self._orders.unload:
                await self._unload(model_id)

    async def _unload(self, model_id: str) -> None:
        try:
            is_gone = await asyncio.to_thread(self._engines.unload, model_id)
        except Exception:
            # Such as an error of the device. The next heartbeat asks again.
            _logger.exception("a model could not be unloaded", model=model_id)
            return
        # A model in use stays for now, and the next heartbeat asks again.
        if is_gone:
            _logger.info("a model was unloaded", model=model_id)
            self._report()
