"""Opens engines by name on first use, and schedules clips on the device."""

import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.model import EngineName, ModelSpec
from phoenix.catalog.postprocessors import InterpolatorSpec, UpscalerSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.batch_rules import max_batch_size
from phoenix.engine.batcher import Batcher, Preload
from phoenix.engine.host_memory import HostMemory
from phoenix.engine.interface import (
    BatchingEngine,
    ClipInputs,
    CountingEngine,
    Engine,
    EngineCounts,
    HostMemoryEngine,
    LoadingEngine,
    RenderedClip,
    RenderObserver,
    RenderRequest,
    UnloadingEngine,
)
from phoenix.engine.memory_profile import FilePeakStore, InMemoryPeakStore
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.errors import FailureCode, Stage, TaskFailed, install_extra
from phoenix.settings import AnimaticSettings, EngineSettings, VeoSettings

if TYPE_CHECKING:
    from phoenix.engine.postprocessing.chain import ClipPostprocessing, PostprocessorModels


class EngineRegistry:
    """The engines of one worker process. Selects the engine of each clip. Thread-safe.

    `other_devices` are further devices of this worker, for entries with `parallelism`.
    `slots` limits the calls on the device at a time: a clip waits for a slot, or shares a slot with similar clips.
    Without `peak_memory_file`, measured memory peaks are lost when the process ends. The engines in `opened` are
    used directly; any other engine is opened when a clip first needs it.
    """

    def __init__(
        self,
        *,
        engine: EngineSettings,
        animatic: AnimaticSettings,
        veo: VeoSettings | None = None,
        device: str = "auto",
        other_devices: Sequence[str] = (),
        slots: DeviceSlots | None = None,
        operations_dir: Path | None = None,
        peak_memory_file: Path | None = None,
        opened: Mapping[EngineName, Engine] | None = None,
    ) -> None:
        self._engine_settings, self._animatic_settings, self._device = engine, animatic, device
        self._other_devices = tuple(other_devices)
        self._veo_settings, self._operations_dir = veo or VeoSettings(), operations_dir
        self._slots = slots or DeviceSlots(1, wait_limit_s=600)
        self._batcher = Batcher(self._slots, window_s=engine.batch_window_s)
        self._peak_memory_file = peak_memory_file
        self._open_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._rendering = 0
        self._open: dict[EngineName, Engine] = dict(opened or {})
        self._postprocessors: PostprocessorModels | None = None

    def can_serve(self, model: ModelSpec, adapters: Iterable[AdapterSpec] = ()) -> bool:
        """Returns whether this process can render `model`. Imports no torch, and loads nothing."""
        return self.find_obstacle(model, adapters) is None

    def find_obstacle(self, model: ModelSpec, adapters: Iterable[AdapterSpec] = ()) -> str | None:
        """Returns what this process lacks to render `model`, and what to do; None if it can.

        `adapters` are those without which the model cannot be rendered.
        """
        match model.engine:
            case "animatic":
                return None if find_spec("PIL") is not None else install_extra("media")
            case "veo":
                if not self._veo_settings.is_configured:
                    return "set PHOENIX_VEO__API_KEY or PHOENIX_VEO__PROJECT"
                return None if _is_installed("google.genai") else install_extra("veo")
            case "diffusers":
                return self._find_obstacle_to_weights(model) or self._find_obstacle_to_adapters(model, adapters)

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Waits for a slot on the device, and renders one clip. Nothing that the caller does holds the slot.

        The last frames may still be decoded in the slot when it returns; see `RenderedClip.when_made`. Raises
        `TaskFailed` (TIMEOUT after the wait limit of the slots), or `RenderStopped` when asked to stop.
        """
        observer.stop.check()
        engine = self._get(inputs.model.engine)
        if inputs.model.is_remote:
            return engine.render(inputs, observer)
        if isinstance(engine, BatchingEngine):
            # Also for one clip: the call has a thread of its own, and continues while its first frames are encoded.
            request, preload = RenderRequest(inputs, observer), _find_preload(engine, inputs)
            limit = self._max_batch_size(inputs)
            return self._batcher.render(request, limit=limit, render=engine.render_batch, preload=preload)
        with self._count_rendering():
            return self._render_alone(engine, inputs, observer)

    def open_postprocessing(
        self, clip: ResolvedClip, upscaler: UpscalerSpec | None, interpolator: InterpolatorSpec | None
    ) -> "ClipPostprocessing":
        """Opens what changes the frames of the clip after its engine. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
        # Part of an extra, like the engines.
        from phoenix.engine.postprocessing.chain import PostprocessorModels  # noqa: PLC0415

        with self._open_lock:
            if self._postprocessors is None:
                self._postprocessors = PostprocessorModels(device=self._device, slots=self._slots)
        return self._postprocessors.open(clip, upscaler, interpolator)

    @property
    def is_idle(self) -> bool:
        """Whether no call runs on the device or waits for it. A call can end later than the last of its clips."""
        return not (self._slots.in_use or self._slots.waiting or self._batcher.running_batches or self._rendering)

    def loaded_models(self) -> tuple[str, ...]:
        """Returns the ids of the models in memory."""
        return tuple(model_id for engine in self._open.values() for model_id in engine.loaded_models())

    def unload(self, model_id: str) -> bool:
        """Drops the model from memory unless a call uses it. Returns whether it is not in memory any more."""
        for engine in self._open.values():
            if isinstance(engine, UnloadingEngine):
                engine.unload(model_id)
        return model_id not in self.loaded_models()

    def host_memory(self) -> HostMemory | None:
        """Returns the memory of the machine for models; None before an engine that uses it was opened."""
        engines = [engine for engine in self._open.values() if isinstance(engine, HostMemoryEngine)]
        return engines[0].host_memory() if engines else None

    def counts(self) -> EngineCounts:
        """Returns the loads, evictions and fallbacks of all engines."""
        counted = EngineCounts()
        for engine in self._open.values():
            counted = counted.plus(engine.counts()) if isinstance(engine, CountingEngine) else counted
        return counted

    def close(self) -> None:
        """Releases every model. Call it only while no render is running."""
        with self._open_lock, ExitStack() as closing:
            for engine in self._open.values():
                closing.callback(engine.close)
            self._open = {}

    def _render_alone(self, engine: Engine, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        with ExitStack() as device:
            with observer.waiting():
                device.enter_context(self._slots.acquire(observer.stop))
            return engine.render(inputs, observer)

    @contextmanager
    def _count_rendering(self) -> Generator[None]:
        with self._count_lock:
            self._rendering += 1
        try:
            yield
        finally:
            with self._count_lock:
                self._rendering -= 1

    def _find_obstacle_to_weights(self, model: ModelSpec) -> str | None:
        if find_spec("torch") is None or find_spec("diffusers") is None:
            return install_extra("worker")
        from phoenix.engine.backends.diffusers.device_group.plan import find_shortage  # noqa: PLC0415
        from phoenix.engine.backends.diffusers.folders import is_available, is_on_disk  # noqa: PLC0415

        if is_available(model, offline=self._engine_settings.offline):
            return find_shortage(model, 1 + len(self._other_devices))
        return f"there is no folder {model.source}" if is_on_disk(model) else pull_remedy(model)

    def _find_obstacle_to_adapters(self, model: ModelSpec, adapters: Iterable[AdapterSpec]) -> str | None:
        from phoenix.engine.backends.diffusers.folders import has_adapter_files  # noqa: PLC0415

        offline = self._engine_settings.offline
        missing = [each.id for each in adapters if not has_adapter_files(each, offline=offline)]
        return f"its adapter {', '.join(missing)} is missing: {pull_remedy(model)}" if missing else None

    def _max_batch_size(self, inputs: ClipInputs) -> int:
        return max_batch_size(
            inputs.clip,
            inputs.model,
            has_conditions=bool(inputs.conditions),
            limit=self._engine_settings.max_batch_size,
        )

    def _get(self, name: EngineName) -> Engine:
        with self._open_lock:
            if name not in self._open:
                # A new dict each time, because `loaded_models` reads the dict in other threads without the lock.
                self._open = {**self._open, name: self._open_or_fail(name)}
            return self._open[name]

    def _open_or_fail(self, name: EngineName) -> Engine:
        try:
            return self._open_engine(name)
        except ImportError as error:
            extra = "veo" if name == "veo" else "worker"
            raise TaskFailed(
                FailureCode.MODEL_UNAVAILABLE,
                f"this worker lacks what the {name} engine needs ({error}); {install_extra(extra)}",
                stage=Stage.LOAD,
                retriable=True,
            ) from error

    def _open_engine(self, name: EngineName) -> Engine:
        settings = self._engine_settings
        match name:
            case "animatic":
                from phoenix.engine.backends.animatic.engine import AnimaticEngine  # noqa: PLC0415

                seconds_per_step = self._animatic_settings.seconds_per_step
                return AnimaticEngine(seconds_per_step=seconds_per_step, preview_interval_s=settings.preview_interval_s)
            case "veo":
                from phoenix.engine.backends.veo.engine import VeoEngine  # noqa: PLC0415

                return VeoEngine(self._veo_settings, operations_dir=self._operations_dir)
            case "diffusers":
                from phoenix.engine.backends.diffusers.engine import DiffusersEngine  # noqa: PLC0415

                peaks = FilePeakStore(self._peak_memory_file) if self._peak_memory_file else InMemoryPeakStore()
                limit_s = self._slots.wait_limit_s
                devices = "+".join((self._device, *self._other_devices))
                return DiffusersEngine(device=devices, settings=settings, peaks=peaks, wait_limit_s=limit_s)


def pull_remedy(model: ModelSpec) -> str:
    """Returns what to do about weights that are not here."""
    return f"run `phoenix models pull {model.id}`"


def _find_preload(engine: Engine, inputs: ClipInputs) -> Preload | None:
    if not isinstance(engine, LoadingEngine):
        return None
    has_adapters = {"has_adapters": True} if inputs.adapters else {}
    return partial(engine.preload, inputs.model, **has_adapters)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
