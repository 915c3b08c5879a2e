"""Warms up the configured models before the worker takes tasks. A model that breaks the process ends it."""

import asyncio
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from phoenix.catalog.catalog import CatalogError
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import fit_size
from phoenix.contract import ResolvedClip
from phoenix.engine.conditions.trial import make_trial_conditions
from phoenix.engine.interface import ClipInputs, NullObserver, ProcessUnfit
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import TaskFailed
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import WorkerContext
from phoenix.worker.shutdown import ShutdownState


def warm_up(engines: EngineRegistry, model: ModelSpec, stop: StopToken) -> None:
    """Loads the model and renders its trial clips, so that the first job does not wait for loading and compilation.

    Raises `TaskFailed` or `RenderStopped`.
    """
    for clip in trial_clips(model):
        with TemporaryDirectory() as folder:
            conditions = make_trial_conditions(model, clip, Path(folder))
            for _ in engines.render(ClipInputs(clip, model, conditions), NullObserver(stop)).frames:
                pass


def trial_clips(model: ModelSpec) -> list[ResolvedClip]:
    """A clip of the default shape and, if the blocks are compiled, a clip of another length.

    Torch compiles the first shape that it meets for this shape alone, and the second one for all shapes.
    """
    clip, frames = trial_clip(model), model.frames
    lengths = (frames.default - frames.multiple, frames.default + frames.multiple)
    other = next((length for length in lengths if frames.minimum <= length <= frames.maximum), None)
    if not model.compile_blocks or other is None:
        return [clip]
    return [clip, clip.model_copy(update={"num_frames": other})]


def trial_clip(model: ModelSpec) -> ResolvedClip:
    """A clip of the default shape with the fewest steps."""
    size = fit_size(model.size, model.size.default_resolution, model.size.default_aspect_ratio)
    return ResolvedClip(
        index=0,
        prompt="a red balloon over a harbour at dawn",
        seed=0,
        steps=model.steps.minimum,
        guidance_scale=model.guidance_scale.default,
        width=size.width,
        height=size.height,
        fps=model.fps.default,
        num_frames=model.frames.default,
        deterministic=True,
    )


_logger = get_logger(__name__)


async def warm_up_models(context: WorkerContext, shutdown: ShutdownState) -> None:
    """Warms up every model of `engine.warm_models`. Returns early when the worker starts to drain.

    Raises `CatalogError` for a model that is not in the catalog.
    """
    stop = StopToken()
    draining = asyncio.create_task(shutdown.draining.wait())
    draining.add_done_callback(lambda _: stop.stop(StopReason.PREEMPT))
    try:
        with suppress(RenderStopped):
            for model_id in context.settings.engine.warm_models:
                await context.threads.run(_warm, context, model_id, stop)
    except ProcessUnfit as unfit:
        _logger.critical("a model broke the process while it was warmed up", error=unfit.detail)
        shutdown.abort(unfit.detail)
    finally:
        draining.cancel()


def _warm(context: WorkerContext, model_id: str, stop: StopToken) -> None:
    stop.check()
    model = context.catalog.find(model_id)
    if model is None:
        # A worker without it would report itself ready, and be slow at its first clip.
        raise CatalogError(f"PHOENIX_ENGINE__WARM_MODELS: there is no model {model_id!r}")
    try:
        warm_up(context.engines, model, stop)
    except ProcessUnfit:
        raise
    except TaskFailed as failed:
        _logger.error("a model cannot be warmed up", model=model_id, code=failed.code.value, error=failed.detail)
    else:
        _logger.info("model warmed up", model=model_id)
