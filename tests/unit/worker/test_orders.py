"""What a worker does with its orders, apart from the fleet."""

import asyncio
from contextlib import asynccontextmanager

from phoenix.engine.registry import EngineRegistry
from phoenix.jobs.scheduling.workers import WorkerOrders
from phoenix.settings import AnimaticSettings, EngineSettings
from phoenix.worker.orders import WorkerSteering

TIMEOUT_S = 100


class HoldingEngine:
    """Has models in memory, some of which are in use."""

    def __init__(self, *models: str, in_use: str | None = None) -> None:
        self.models = list(models)
        self.in_use = in_use

    def render(self, inputs: object, observer: object) -> object:
        raise NotImplementedError

    def loaded_models(self) -> tuple[str, ...]:
        return tuple(self.models)

    def unload(self, model_id: str) -> None:
        if model_id in self.models and model_id != self.in_use:
            self.models.remove(model_id)

    def close(self) -> None:
        pass


def registry_with(engine: HoldingEngine) -> EngineRegistry:
    return EngineRegistry(
        engine=EngineSettings(),
        animatic=AnimaticSettings(),
        opened={"diffusers": engine},  # pyright: ignore[reportArgumentType]
    )


@asynccontextmanager
async def keeping(engine: HoldingEngine):
    reported = asyncio.Event()
    keeper = WorkerSteering(registry_with(engine), reported.set)
    async with keeper.running():
        yield keeper, reported


async def test_a_worker_claims_nothing_between_the_order_to_drain_and_the_order_to_resume() -> None:
    keeper = WorkerSteering(registry_with(HoldingEngine()), lambda: None)
    answers = [keeper.is_draining()]

    for is_draining in (True, False):
        keeper.take(WorkerOrders(is_draining=is_draining))
        answers.append(keeper.is_draining())

    assert answers == [False, True, False]


async def test_a_model_is_unloaded_and_reported() -> None:
    engine = HoldingEngine("wan", "ltx")
    async with keeping(engine) as (keeper, reported), asyncio.timeout(TIMEOUT_S):
        keeper.take(WorkerOrders(unload=("wan",)))
        await reported.wait()

    assert engine.models == ["ltx"]


async def test_a_model_in_use_is_unloaded_once_it_is_free() -> None:
    engine = HoldingEngine("wan", "ltx", in_use="wan")
    async with keeping(engine) as (keeper, reported), asyncio.timeout(TIMEOUT_S):
        keeper.take(WorkerOrders(unload=("wan", "ltx")))
        await reported.wait()
        kept = list(engine.models)
        reported.clear()
        engine.in_use = None
        keeper.take(WorkerOrders(unload=("wan",)))
        await reported.wait()

    assert (kept, engine.models) == (["wan"], [])
