"""Renders clips with diffusers pipelines: caches models, schedules calls on the device, retries with less memory."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Protocol

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.calling import run_call
from phoenix.engine.backends.diffusers.idle_eviction import IdleEvictor
from phoenix.engine.backends.diffusers.latent_previews import ColourMaps
from phoenix.engine.backends.diffusers.loading import LoadedPipeline, fetch_pipeline, load_pipeline
from phoenix.engine.backends.diffusers.model_cache import ModelCache
from phoenix.engine.backends.diffusers.out_of_memory import (
    ActiveFallbacks,
    FallbackLevel,
    Recovery,
    model_at_level,
    next_level,
    plan_recovery,
    run_clean,
)
from phoenix.engine.backends.diffusers.step_callbacks import Call
from phoenix.engine.batch_rules import halves
from phoenix.engine.device import device_memory, device_name, open_meter, pick_device, release_memory
from phoenix.engine.device_scheduler import DeviceReservation, DeviceScheduler, Meter
from phoenix.engine.interface import (
    ClipInputs,
    RenderedClip,
    RenderObserver,
    RenderRequest,
    without_traceback,
)
from phoenix.engine.memory_profile import CallShape, InMemoryPeakStore, PeakStore, call_shape
from phoenix.engine.stop_token import RenderStopped, StopToken, joint_stop_token
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import EngineSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

BUDGET_SHARE = 0.9
"""Fraction of the device memory for weights if the settings have no budget. The rest is for activations."""


class LoadPipeline(Protocol):
    """Loads a model onto a device, like `load_pipeline`."""

    def __call__(self, model: ModelSpec, *, device: str, stop: StopToken) -> LoadedPipeline: ...


class DiffusersEngine:
    """The pipelines of one device. Several threads may call `render` at a time; they share only the weights.

    `meter` measures the memory of the device; `open_meter` makes the default. `load` loads a model, and `maps` has the
    colour maps of the previews.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        settings: EngineSettings | None = None,
        peaks: PeakStore | None = None,
        meter: Meter | None = None,
        wait_limit_s: float = 600,
        load: LoadPipeline = load_pipeline,
        maps: ColourMaps | None = None,
    ) -> None:
        self.device = pick_device(device)
        self._device_name = device_name(self.device)
        self._wait_limit_s = wait_limit_s
        self._settings = settings or EngineSettings()
        self._peaks = peaks or InMemoryPeakStore()
        self._meter = meter or open_meter(self.device)
        self._load_pipeline = load
        self._maps = maps or ColourMaps()
        self._fallbacks = ActiveFallbacks()
        self._too_large: set[CallShape] = set()
        self._model_cache: ModelCache[LoadedPipeline] = ModelCache(
            fetch=self._fetch,
            load=self._load,
            measure=lambda loaded: loaded.memory_bytes,
            release=release_memory,
            budget_bytes=self._budget_bytes(),
            can_load=self._can_load,
        )
        self._scheduler = DeviceScheduler(self._meter, self._model_cache)
        self._idle_evictor = IdleEvictor(self._model_cache.evict_expired, self._settings.idle_timeout_s)

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Returns the frames of the clip in host memory. Raises `TaskFailed`, `ProcessUnfit` or `RenderStopped`."""
        request = RenderRequest(inputs, observer)
        self.render_batch([request])
        return request.result()

    def render_batch(self, requests: Sequence[RenderRequest]) -> None:
        self._render_at(requests, self._fallbacks.first_level(requests[0].inputs.model.id))

    @contextmanager
    def preload(self, model: ModelSpec, stop: StopToken) -> Generator[None]:
        """Downloads the model, and loads it if it fits in memory together with the running calls.

        The context covers the wait of the call and the call. Raises `TaskFailed` or `RenderStopped`.
        """
        target = model_at_level(model, self._fallbacks.first_level(model.id))
        with self._idle_evictor.evict_after(), self._model_cache.soft_pin(model.id):
            try:
                self._model_cache.preload(target, stop)
            except TaskFailed as failed:
                if failed.code is not FailureCode.GPU_OOM:
                    raise
                _logger.warning("no memory to load a model before its turn", model=model.id, error=failed.detail)
            yield

    def loaded_models(self) -> tuple[str, ...]:
        return self._model_cache.names()

    def close(self) -> None:
        self._idle_evictor.close()
        self._model_cache.evict_idle()

    def _fetch(self, model: ModelSpec) -> None:
        run_clean(
            lambda: fetch_pipeline(model, offline=self._settings.offline), stage=lambda: Stage.LOAD, device=self.device
        )

    def _load(self, model: ModelSpec, stop: StopToken) -> LoadedPipeline:
        """Loads a model in the thread of the load. Raises only errors of Phoenix, which have no tensors."""
        return run_clean(
            lambda: self._load_pipeline(model, device=self.device, stop=stop),
            stage=lambda: Stage.LOAD,
            device=self.device,
        )

    def _render_at(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> None:
        """Renders the clips together, in smaller batches, or at a higher level. Finishes every request."""
        pending = [request for request in requests if not _is_finished(request)]
        if not pending:
            return
        if len(pending) > 1 and self._shape_of(pending, level) in self._too_large:
            self._split(pending, level)
            return
        shared_device = self._shares_device(pending[0].inputs.model)
        failed = self._try(pending, level)
        if failed is not None:
            # Also true if a model was loaded during the call.
            shared_device = shared_device or self._shares_device(pending[0].inputs.model)
            self._recover(pending, level, failed, shared_device=shared_device)

    def _recover(
        self, tried: Sequence[RenderRequest], level: FallbackLevel, failed: TaskFailed, *, shared_device: bool
    ) -> None:
        higher = next_level(level, tried[0].inputs.model, shared_device=shared_device)
        match plan_recovery(failed, len(tried), higher):
            case Recovery.SPLIT:
                if failed.code is FailureCode.GPU_OOM:
                    self._too_large.add(self._shape_of(tried, level))
                self._split(tried, level)
            case Recovery.FALL_BACK if higher is not None:
                self._fall_back_to(higher, tried)
            case _:
                for request in tried:
                    request.finish(without_traceback(failed))

    def _split(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> None:
        for half in halves(requests):
            self._render_at(half, level)

    def _fall_back_to(self, level: FallbackLevel, requests: Sequence[RenderRequest]) -> None:
        model = requests[0].inputs.model
        _logger.warning(
            "out of memory; trying a higher fallback level", model=model.id, fallback_level=level.name.lower()
        )
        self._model_cache.evict_idle(keep=model.id if level is FallbackLevel.EXCLUSIVE else None)
        self._render_at(requests, level)
        # Only after a success: a clip that is too large for every level must not slow down other clips.
        if any(request.has_succeeded for request in requests):
            self._fallbacks.record(model.id, level)

    def _try(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> TaskFailed | None:
        """Makes one call. Returns its failure, or None. Finishes the clips that were stopped meanwhile."""
        call = Call(requests)
        try:
            run_clean(lambda: self._run(call, level), stage=lambda: call.stage, device=self.device)
        except TaskFailed as failed:
            return failed
        except RenderStopped:
            # All clips were stopped. Each is finished below, with its own reason.
            pass
        finally:
            # Here and not in `_run`, whose stack frames keep the tensors of the call alive.
            if self._meter and not self._scheduler.running_calls:
                self._meter.release()
        for request in requests:
            _is_finished(request)
        return None

    def _run(self, call: Call, level: FallbackLevel) -> None:
        shape = self._shape_of(call.rows, level)
        model = model_at_level(call.model, level)
        tokens = [request.observer.stop for request in call.rows]
        with self._idle_evictor.evict_after(), joint_stop_token(tokens) as stop, ExitStack() as device:
            with call.waiting():
                call.report_stage()
                loaded = device.enter_context(self._model_cache.acquire(model, stop))
            with call.waiting():
                estimate = partial(self._estimate, model, shape, level)
                reservation = device.enter_context(
                    self._scheduler.reserve(estimate, stop, timeout_s=self._wait_limit_s)
                )
            if level is FallbackLevel.EXCLUSIVE:
                # Other models may have been loaded during the wait.
                self._model_cache.evict_idle(keep=model.id)
            self._run_measured(shape, reservation, loaded, call)

    def _estimate(self, model: ModelSpec, shape: CallShape, level: FallbackLevel) -> DeviceReservation:
        return DeviceReservation(
            model.id,
            needed_bytes=self._peaks.find(shape),
            max_calls_of_model=model.max_concurrency,
            is_exclusive=level is not FallbackLevel.SHARED,
        )

    def _run_measured(
        self, shape: CallShape, reservation: DeviceReservation, loaded: LoadedPipeline, call: Call
    ) -> None:
        """Runs the call. The first call of a shape runs alone on the device, and its memory peak is recorded."""
        meter = self._meter if self._scheduler.needs_measuring(reservation) else None
        if meter:
            # This call cannot use the cached blocks of calls with other shapes.
            release_memory()
            meter.reset_peak()
        before_bytes, epoch = meter.allocated_bytes() if meter else 0, self._model_cache.epoch()
        run_call(loaded.pipeline, call, self._maps, preview_interval_s=self._settings.preview_interval_s)
        # The peak is wrong if models were loaded or dropped during the call, and a recorded peak is permanent.
        if meter and epoch is not None and epoch == self._model_cache.epoch():
            self._peaks.record(shape, max(0, meter.peak_bytes() - before_bytes))

    def _can_load(self) -> bool:
        """Returns whether a model may be loaded during running calls.

        Never on a shared device: the memory that another process is about to use is unknown here.
        """
        return self._settings.device_share == 1 and self._scheduler.can_load()

    def _shape_of(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> CallShape:
        clip, model = requests[0].clip, model_at_level(requests[0].inputs.model, level)
        return call_shape(clip, model, len(requests), device=self._device_name)

    def _shares_device(self, model: ModelSpec) -> bool:
        is_one_coming = self._model_cache.epoch() is None
        return (
            self._scheduler.running_calls > 0
            or is_one_coming
            or any(name != model.id for name in self._model_cache.names())
        )

    def _budget_bytes(self) -> int | None:
        share, budget_bytes = self._settings.device_share, self._settings.memory_budget_bytes
        if budget_bytes is not None:
            return int(budget_bytes * share)
        memory = device_memory(self.device)
        return None if memory is None else int(memory.total_bytes * BUDGET_SHARE * share)


def _is_finished(request: RenderRequest) -> bool:
    """Finishes the request if it was stopped. Returns whether it is finished."""
    if request.is_stopped:
        request.finish_stopped()
    return request.is_finished
