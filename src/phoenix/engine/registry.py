"""Opens engines by name on first use, and gives each clip its turn on the device."""

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from phoenix.catalog.model import EngineName, ModelSpec
from phoenix.engine.backend import BatchingEngine, Engine, LoadingEngine
from phoenix.engine.batch_rules import most_clips
from phoenix.engine.batcher import Gathering, GetReady
from phoenix.engine.memory_profile import FilePeaks, MemoryPeaks
from phoenix.engine.slots import DeviceSlots
from phoenix.engine.spec import ClipJob, Member, RenderedClip, Watcher
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings, VeoSettings


class Engines:
    """The engines of one worker process. Picks the right one for each clip; thread-safe.

    `slots` bounds the calls on the device at a time: a clip waits for one, or shares one with others like it.
    Without `peaks_file`, learned memory peaks are forgotten when the process ends.
    """

    def __init__(
        self,
        *,
        engine: EngineSettings,
        animatic: AnimaticSettings,
        veo: VeoSettings | None = None,
        device: str = "auto",
        slots: DeviceSlots | None = None,
        notes_dir: Path | None = None,
        peaks_file: Path | None = None,
    ) -> None:
        self._engine_settings, self._animatic_settings, self._device = engine, animatic, device
        self._veo_settings, self._notes_dir = veo or VeoSettings(), notes_dir
        self._slots = slots or DeviceSlots(1, wait_limit_s=600)
        self._gathering = Gathering(self._slots, window_s=engine.batch_window_s)
        self._peaks_file = peaks_file
        self._opening = threading.Lock()
        self._counting = threading.Lock()
        self._rendering = 0
        self._open: dict[EngineName, Engine] = {}

    def can_serve(self, model: ModelSpec) -> bool:
        """Whether a clip of `model` could be started here. Imports no torch and loads nothing."""
        match model.engine:
            case "animatic":
                return find_spec("PIL") is not None
            case "veo":
                return self._veo_settings.is_configured and _is_installed("google.genai")
            case "diffusers":
                return self._can_serve_weights(model)

    def render(self, job: ClipJob, watcher: Watcher) -> RenderedClip:
        """Renders one clip once the device has a slot for it. Encoding and the rest happen after the slot is freed.

        Raises `TaskFailed` (TIMEOUT past the slot's wait limit), or `RenderStopped` when asked to stop.
        """
        watcher.stop.check()
        engine = self._get(job.model.engine)
        if job.model.is_remote:
            return engine.render(job, watcher)
        limit = self._most_clips(job)
        if limit > 1 and isinstance(engine, BatchingEngine):
            member, ready = Member(job, watcher), _readiness(engine, job.model)
            return self._gathering.render(member, limit=limit, render=engine.render_together, ready=ready)
        with self._counted():
            return self._render_alone(engine, job, watcher)

    @property
    def is_idle(self) -> bool:
        """Whether nothing computes on the device or waits for it. A call may end later than the last of its clips."""
        return not (self._slots.held or self._slots.waiting or self._gathering.under_way or self._rendering)

    def loaded_models(self) -> tuple[str, ...]:
        """Ids of the models held in memory now."""
        return tuple(model_id for engine in self._open.values() for model_id in engine.loaded_models())

    def close(self) -> None:
        """Releases every model. Nothing may be rendering."""
        with self._opening, ExitStack() as closing:
            for engine in self._open.values():
                closing.callback(engine.close)
            self._open = {}

    def _render_alone(self, engine: Engine, job: ClipJob, watcher: Watcher) -> RenderedClip:
        """What loads, loads before it has a slot: the models that are there already compute meanwhile."""
        ready = _readiness(engine, job.model)
        with ExitStack() as device:
            if ready is not None:
                with watcher.waiting():
                    watcher.on_stage(Stage.LOAD)
                    device.enter_context(ready(watcher.stop))
            with watcher.waiting():
                device.enter_context(self._slots.hold(watcher.stop))
            return engine.render(job, watcher)

    @contextmanager
    def _counted(self) -> Generator[None]:
        with self._counting:
            self._rendering += 1
        try:
            yield
        finally:
            with self._counting:
                self._rendering -= 1

    def _can_serve_weights(self, model: ModelSpec) -> bool:
        if find_spec("torch") is None or find_spec("diffusers") is None:
            return False
        from phoenix.engine.backends.diffusers.folders import is_at_hand  # noqa: PLC0415

        return is_at_hand(model, offline=self._engine_settings.offline)

    def _most_clips(self, job: ClipJob) -> int:
        has_image = job.image_path is not None
        return most_clips(job.clip, job.model, has_image=has_image, limit=self._engine_settings.max_batch)

    def _get(self, name: EngineName) -> Engine:
        with self._opening:
            if name not in self._open:
                # A new dict each time: `loaded_models` reads it from other threads without the lock.
                self._open = {**self._open, name: self._open_or_fail(name)}
            return self._open[name]

    def _open_or_fail(self, name: EngineName) -> Engine:
        try:
            return self._open_engine(name)
        except ImportError as error:
            extra = "veo" if name == "veo" else "worker"
            raise TaskFailed(
                FailureCode.MODEL_UNAVAILABLE,
                f"this worker lacks what the {name} engine needs ({error}); install phoenix[{extra}]",
                stage=Stage.LOAD,
                retriable=True,
            ) from error

    def _open_engine(self, name: EngineName) -> Engine:
        settings = self._engine_settings
        match name:
            case "animatic":
                from phoenix.engine.backends.animatic.engine import AnimaticEngine  # noqa: PLC0415

                pace_s = self._animatic_settings.seconds_per_step
                return AnimaticEngine(seconds_per_step=pace_s, preview_interval_s=settings.preview_interval_s)
            case "veo":
                from phoenix.engine.backends.veo.engine import VeoEngine  # noqa: PLC0415

                return VeoEngine(self._veo_settings, notes_dir=self._notes_dir)
            case "diffusers":
                from phoenix.engine.backends.diffusers.engine import DiffusersEngine  # noqa: PLC0415

                peaks = FilePeaks(self._peaks_file) if self._peaks_file else MemoryPeaks()
                limit_s = self._slots.wait_limit_s
                return DiffusersEngine(device=self._device, settings=settings, peaks=peaks, wait_limit_s=limit_s)


def _readiness(engine: Engine, model: ModelSpec) -> GetReady | None:
    return partial(engine.ready, model) if isinstance(engine, LoadingEngine) else None


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it
        return False
