"""Renders clips with diffusers pipelines: caches models, schedules calls on the device, retries with less memory."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

from phoenix.catalog.fit import WEIGHTS_SHARE
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.adapters.files import AdapterPart, find_parts, with_parts_in_entry
from phoenix.engine.backends.diffusers.calling import run_call
from phoenix.engine.backends.diffusers.choosing.chooser import Chooser, card_of
from phoenix.engine.backends.diffusers.denoising.denoisers import step_cache_of_call
from phoenix.engine.backends.diffusers.device_group.group import DeviceGroup
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.engine.backends.diffusers.idle_eviction import IdleEvictor
from phoenix.engine.backends.diffusers.latent_previews import ColourMaps
from phoenix.engine.backends.diffusers.loading import (
    LoadedPipeline,
    fetch_pipeline,
    load_pipeline,
    pipeline_for,
    with_adapters,
)
from phoenix.engine.backends.diffusers.model_cache import HostBudget, ModelCache
from phoenix.engine.backends.diffusers.out_of_memory import (
    ActiveFallbacks,
    BatchFailures,
    FallbackLevel,
    Recovery,
    level_that_fits,
    model_at_level,
    next_level,
    plan_recovery,
    run_clean,
)
from phoenix.engine.backends.diffusers.shared_weights import calls_key, weights_key, without_tuning
from phoenix.engine.backends.diffusers.step_callbacks import Call
from phoenix.engine.backends.diffusers.weight_sizes import WeightSizes
from phoenix.engine.batch_rules import halves
from phoenix.engine.device import (
    count_devices,
    device_name,
    open_meter,
    pick_devices,
    release_memory,
    smallest_memory_bytes,
    usable_memory,
)
from phoenix.engine.device_scheduler import DeviceReservation, DeviceScheduler, Meter, PeakWindows
from phoenix.engine.host_memory import HostMemory, host_budget_bytes
from phoenix.engine.interface import (
    ClipInputs,
    EngineCounts,
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


class LoadPipeline(Protocol):
    """Loads a model onto a device, like `load_pipeline`."""

    def __call__(self, model: ModelSpec, *, device: str, stop: StopToken) -> LoadedPipeline: ...


class DiffusersEngine:
    """The pipelines of one device. Several threads may call `render` at a time; they share only the weights.

    `device` may name further devices, with which entries with `parallelism` are rendered (see `pick_devices`).
    `meter` measures the memory of the device; `open_meter` makes the default. `load` loads a model, and `maps` has the
    colour maps of the previews. `usable_bytes` returns the memory of the device that this process could use.
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
        usable_bytes: Callable[[], int | None] | None = None,
    ) -> None:
        self._devices = pick_devices(device)
        self.device, self._group = self._devices[0], DeviceGroup(self._devices)
        self._device_name = device_name(self.device)
        self._wait_limit_s = wait_limit_s
        self._settings = settings or EngineSettings()
        self._peaks = peaks or InMemoryPeakStore()
        self._meter = meter or open_meter(self.device)
        self._load_pipeline = load
        self._maps = maps or ColourMaps()
        self._usable_bytes = usable_bytes or partial(usable_memory, self.device)
        self._fallbacks = ActiveFallbacks()
        self._batch_failures = BatchFailures()
        self._too_large: set[CallShape] = set()
        card = card_of(self.device, self._device_name, self._budget_bytes(), devices=len(self._devices))
        self._chooser = Chooser(card, self.device)
        self._model_cache: ModelCache[LoadedPipeline] = ModelCache(
            fetch=self._fetch,
            load=self._load,
            measure=lambda loaded: loaded.memory_bytes + loaded.adapter_sets.memory_bytes,
            release=self._release,
            budget_bytes=self._budget_bytes(),
            host=self._host_budget(),
            can_load=self._can_load,
            key=weights_key,
        )
        self._scheduler = DeviceScheduler(self._meter, self._model_cache)
        self._peak_windows = PeakWindows(self._meter)
        self._loads, self._memory_fallbacks = 0, 0
        self._idle_evictor = IdleEvictor(self._model_cache.evict_expired, self._settings.idle_timeout_s)

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Returns the frames of the clip in host memory. Raises `TaskFailed`, `ProcessUnfit` or `RenderStopped`."""
        request = RenderRequest(inputs, observer)
        self.render_batch([request])
        return request.result()

    def render_batch(self, requests: Sequence[RenderRequest]) -> None:
        for request in requests:
            request.inputs = replace(request.inputs, model=self._chooser.decide(request.inputs.model))
        inputs = requests[0].inputs
        self._render_at(requests, self._first_level(inputs.model, _size_of(inputs)))

    @contextmanager
    def preload(self, model: ModelSpec, stop: StopToken, *, has_adapters: bool = False) -> Generator[None]:
        """Downloads the model, and loads it if it fits in memory together with the running calls.

        Does nothing for a call with adapters whose weights are loaded again for them.

        The context covers the wait of the call and the call. Raises `TaskFailed` or `RenderStopped`.
        """
        model = self._chooser.decide(model)
        target = model_at_level(model, self._first_level(model))
        if has_adapters and target.changes_modules:
            yield
            return
        with self._idle_evictor.evict_after(), self._model_cache.soft_pin(weights_key(target)):
            try:
                self._model_cache.preload(target, stop)
            except TaskFailed as failed:
                if failed.code is not FailureCode.GPU_OOM:
                    raise
                _logger.warning("no memory to load a model before its turn", model=model.id, error=failed.detail)
            yield

    def loaded_models(self) -> tuple[str, ...]:
        return self._model_cache.names()

    def unload(self, model_id: str) -> None:
        self._model_cache.evict_idle(only=model_id)

    def host_memory(self) -> HostMemory:
        return HostMemory(self._model_cache.host_bytes(), self._model_cache.host_budget_bytes)

    def counts(self) -> EngineCounts:
        return EngineCounts(self._loads, self._model_cache.evictions, self._memory_fallbacks)

    def close(self) -> None:
        self._idle_evictor.close()
        self._model_cache.evict_idle()
        self._group.close()

    def _fetch(self, model: ModelSpec) -> None:
        run_clean(
            lambda: fetch_pipeline(model, offline=self._settings.offline), stage=lambda: Stage.LOAD, device=self.device
        )

    def _load(self, model: ModelSpec, stop: StopToken) -> LoadedPipeline:
        """Loads a model in the thread of the load. Raises only errors of Phoenix, which have no tensors."""
        self._loads += 1
        load = partial(self._load_pipeline, model, device=self.device, stop=stop)
        return run_clean(lambda: self._group.load(model, stop, load), stage=lambda: Stage.LOAD, device=self.device)

    def _release(self) -> None:
        release_memory()
        self._group.release()

    def _render_at(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> None:
        """Renders the clips together, in smaller batches, or at a higher level. Finishes every request."""
        pending = [request for request in requests if not request.finish_if_stopped()]
        if not pending:
            return
        if len(pending) > 1 and self._is_known_to_fail(pending, level):
            self._split(pending, level)
            return
        shared_device = self._shares_device(pending[0].inputs.model)
        failed = self._try(pending, level)
        if failed is not None:
            # Also true if a model was loaded during the call.
            shared_device = shared_device or self._shares_device(pending[0].inputs.model)
            self._recover(pending, level, failed, shared_device=shared_device)

    def _is_known_to_fail(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> bool:
        shape = self._shape_of(requests, level)
        return shape in self._too_large or self._batch_failures.forbid(shape)

    def _recover(
        self, tried: Sequence[RenderRequest], level: FallbackLevel, failed: TaskFailed, *, shared_device: bool
    ) -> None:
        higher = next_level(level, tried[0].inputs.model, shared_device=shared_device)
        match plan_recovery(failed, len(tried), higher):
            case Recovery.SPLIT:
                is_shortage = failed.code is FailureCode.GPU_OOM
                if is_shortage:
                    self._too_large.add(self._shape_of(tried, level))
                self._split(tried, level)
                if not is_shortage and all(request.has_succeeded for request in tried):
                    self._batch_failures.record(self._shape_of(tried, level), is_lasting=not failed.retriable)
            case Recovery.FALL_BACK if higher is not None:
                self._fall_back_to(higher, tried)
            case _:
                for request in tried:
                    request.finish(without_traceback(failed))

    def _split(self, requests: Sequence[RenderRequest], level: FallbackLevel) -> None:
        for half in halves(requests):
            self._render_at(half, level)

    def _fall_back_to(self, level: FallbackLevel, requests: Sequence[RenderRequest]) -> None:
        model, usable_bytes = requests[0].inputs.model, self._usable_bytes()
        _logger.warning(
            "out of memory; trying a higher fallback level", model=model.id, fallback_level=level.name.lower()
        )
        self._memory_fallbacks += 1
        self._model_cache.evict_idle(keep=weights_key(model) if level is FallbackLevel.EXCLUSIVE else None)
        self._render_at(requests, level)
        # Only after a success: a clip that is too large for every level must not slow down other clips.
        if any(request.has_succeeded for request in requests):
            size = _size_of(requests[0].inputs)
            self._fallbacks.record(weights_key(model), level, usable_bytes=usable_bytes, clip_size=size)

    def _first_level(self, model: ModelSpec, clip_size: int | None = None) -> FallbackLevel:
        """Returns the level at which a call begins. Skips those that ran out of memory, or cannot hold the weights."""
        key, usable_bytes = weights_key(model), self._usable_bytes()
        level = self._fallbacks.first_level(key, usable_bytes=usable_bytes, clip_size=clip_size)
        if level is not FallbackLevel.SHARED or not model.may_offload or usable_bytes is None:
            return level
        sizes = self._find_sizes(model)
        level = FallbackLevel.SHARED if sizes is None else level_that_fits(sizes, usable_bytes)
        self._fallbacks.record(key, level)
        return level

    def _find_sizes(self, model: ModelSpec) -> WeightSizes | None:
        key = weights_key(without_tuning(model.model_copy(update={"offload": "auto"})))
        return self._chooser.find_sizes(model, key)

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
            # Here and not in `_run`, whose stack frames keep the tensors of the call alive. Only for other processes on
            # the device: the next call would allocate the blocks again, and torch itself releases them when short.
            if self._meter and self._settings.device_share < 1 and not self._scheduler.running_calls:
                self._meter.release()
        for request in requests:
            request.finish_if_stopped()
        return None

    def _run(self, call: Call, level: FallbackLevel) -> None:
        shape = self._shape_of(call.rows, level)
        model = model_at_level(call.model, level)
        tokens = [request.observer.stop for request in call.rows]
        with self._idle_evictor.evict_after(), joint_stop_token(tokens) as stop, ExitStack() as device:
            with call.waiting():
                call.report_stage()
                parts = find_parts(model, call.rows[0].inputs.adapters, offline=self._settings.offline)
                if parts and model.changes_modules:
                    model, parts = self._reload_with(model, parts), ()
                weights = device.enter_context(self._model_cache.acquire(model, stop))
                loaded = self._prepare(model, weights, parts)
            with call.waiting():
                estimate = partial(self._estimate, model, shape, level)
                reservation = device.enter_context(
                    self._scheduler.reserve(estimate, stop, timeout_s=self._wait_limit_s)
                )
            if level is FallbackLevel.EXCLUSIVE:
                # Other models may have been loaded during the wait.
                self._model_cache.evict_idle(keep=weights_key(model))
            self._run_measured(shape, reservation, loaded, call)

    def _reload_with(self, model: ModelSpec, parts: Sequence[AdapterPart]) -> ModelSpec:
        """Returns an entry whose weights are loaded with the adapters. Drops its weights with other adapters."""
        changed = with_parts_in_entry(model, parts)
        if weights_key(changed) not in self._model_cache.keys_in_memory():
            # A second copy of offloaded weights could take all memory of the machine.
            self._model_cache.evict_idle()
        return changed

    def _prepare(self, model: ModelSpec, weights: LoadedPipeline, parts: Sequence[AdapterPart]) -> LoadedPipeline:
        """Returns the pipeline of the entry with the adapters."""
        loaded = pipeline_for(model, weights, device=self.device)
        if not parts:
            return loaded
        before_bytes = weights.adapter_sets.memory_bytes
        try:
            return with_adapters(loaded, weights, parts, device=self.device)
        finally:
            if weights.adapter_sets.memory_bytes != before_bytes:
                self._model_cache.measure_again(weights_key(model))

    def _estimate(self, model: ModelSpec, shape: CallShape, level: FallbackLevel) -> DeviceReservation:
        return DeviceReservation(
            calls_key(model),
            needed_bytes=self._peaks.find(shape),
            max_calls_of_model=model.max_concurrency,
            is_exclusive=level is not FallbackLevel.SHARED or model.devices > 1,
        )

    def _run_measured(
        self, shape: CallShape, reservation: DeviceReservation, loaded: LoadedPipeline, call: Call
    ) -> None:
        """Runs the call. The first call of a shape runs alone on the device, and its memory peak is recorded."""
        meter = self._meter if self._scheduler.needs_measuring(reservation) else None
        if meter:
            # This call cannot use the cached blocks of calls with other shapes.
            release_memory()
        before_bytes, epoch = meter.allocated_bytes() if meter else 0, self._model_cache.epoch()
        with (
            self._group.sharing(loaded.pipeline, call),
            step_cache_of_call(loaded.pipeline, call.model, steps=call.rows[0].clip.steps),
            self._peak_windows.measuring() as call.read_peak,
        ):
            interval_s = self._settings.preview_interval_s
            run_call(loaded.pipeline, loaded.output, call, self._maps, preview_interval_s=interval_s)
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
            or any(key != weights_key(model) for key in self._model_cache.keys_in_memory())
        )

    def _host_budget(self) -> HostBudget[LoadedPipeline]:
        return HostBudget(
            budget_bytes=host_budget_bytes(
                self._settings.host_memory_bytes,
                device_share=self._settings.device_share,
                devices=count_devices(self.device),
            ),
            expect=self._expect_host_bytes,
            measure=lambda loaded: loaded.host_bytes,
            refusal=lambda model, needed_bytes: unavailable(
                model,
                f"its weights need {needed_bytes / 2**30:.2f} GiB of the machine's memory, and models may use"
                f" {self._model_cache.host_budget_bytes / 2**30:.2f} GiB (PHOENIX_ENGINE__HOST_MEMORY_BYTES)",
            ),
        )

    def _expect_host_bytes(self, model: ModelSpec) -> int:
        sizes = self._find_sizes(model)
        copies = model.devices if self.device == "cpu" else 1
        return 0 if sizes is None else copies * sizes.host_bytes(model.offload, is_cuda=self.device.startswith("cuda"))

    def _budget_bytes(self) -> int | None:
        share, budget_bytes = self._settings.device_share, self._settings.memory_budget_bytes
        if budget_bytes is not None:
            return int(budget_bytes * share)
        total_bytes = smallest_memory_bytes(self._devices)
        return None if total_bytes is None else int(total_bytes * WEIGHTS_SHARE * share)


def _size_of(inputs: ClipInputs) -> int:
    """Returns the number of pixels of all frames. Activations grow with it."""
    return inputs.clip.width * inputs.clip.height * inputs.clip.num_frames
