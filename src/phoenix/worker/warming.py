"""Warms up the configured models before the worker reports ready. What breaks the process in doing so ends it."""

import asyncio
from contextlib import suppress

from phoenix.engine.backend import ProcessUnfit
from phoenix.engine.stopping import RenderStopped, StopReason, StopToken
from phoenix.engine.warming import warm_up
from phoenix.errors import TaskFailed
from phoenix.telemetry.logs import get_logger
from phoenix.worker.drain import Drain
from phoenix.worker.workshop import Workshop

_logger = get_logger(__name__)


async def warm_models(shop: Workshop, drain: Drain) -> None:
    """Returns early when the worker is asked to end."""
    stop = StopToken()
    asked = asyncio.create_task(drain.asked.wait())
    asked.add_done_callback(lambda _: stop.stop(StopReason.PREEMPT))
    try:
        with suppress(RenderStopped):
            for model_id in shop.services.settings.engine.warm_models:
                await shop.threads.run(_warm, shop, model_id, stop)
    except ProcessUnfit as unfit:
        _logger.critical("a model broke the process while it was warmed up", error=unfit.detail)
        drain.give_up()
    finally:
        asked.cancel()


def _warm(shop: Workshop, model_id: str, stop: StopToken) -> None:
    stop.check()
    model = shop.services.catalog.find(model_id)
    if model is None:
        _logger.error("there is no such model to warm up", model=model_id)
        return
    try:
        warm_up(shop.engines, model, stop)
    except ProcessUnfit:
        raise
    except TaskFailed as failed:
        _logger.error("a model cannot be warmed up", model=model_id, code=failed.code.value, error=failed.detail)
    else:
        _logger.info("model warmed up", model=model_id)
