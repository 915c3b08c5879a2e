"""Renders clips with diffusers pipelines: keeps models in memory, and finds a way to run each call that fits."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backend import ProcessUnfit, renewed
from phoenix.engine.backends.diffusers.calling import run_call
from phoenix.engine.backends.diffusers.failures import run_clean
from phoenix.engine.backends.diffusers.idle_eviction import IdleWatch
from phoenix.engine.backends.diffusers.latents import ColourMaps
from phoenix.engine.backends.diffusers.loading import LoadedPipeline, fetch_pipeline, load_pipeline
from phoenix.engine.backends.diffusers.model_cache import Residency
from phoenix.engine.backends.diffusers.oom_fallback import Climbs, Rung, next_rung, on_rung
from phoenix.engine.backends.diffusers.progress import Call
from phoenix.engine.batch_rules import halves
from phoenix.engine.cancellation import RenderStopped, StopToken, stopped_with_all
from phoenix.engine.device import device_memory, device_name, open_meter, pick_device, release_memory
from phoenix.engine.device_memory import DeviceRoom, Meter, Stay
from phoenix.engine.memory_profile import CallShape, MemoryPeaks, Peaks, call_shape
from phoenix.engine.spec import ClipJob, Member, RenderedClip, Watcher
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import EngineSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

BUDGET_SHARE = 0.9
"""Share of the device's memory for weights if no budget is set; the rest is for activations."""


class DiffusersEngine:
    """The pipelines of one device. `render` may be called from several threads, which share nothing but the weights.

    `meter` measures the device's memory; the default is that of `open_meter`.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        settings: EngineSettings | None = None,
        peaks: Peaks | None = None,
        meter: Meter | None = None,
        wait_limit_s: float = 600,
    ) -> None:
        self.device = pick_device(device)
        self._device_name = device_name(self.device)
        self._wait_limit_s = wait_limit_s
        self._settings = settings or EngineSettings()
        self._peaks = peaks or MemoryPeaks()
        self._meter = meter or open_meter(self.device)
        self._maps = ColourMaps()
        self._climbs = Climbs()
        self._too_large: set[CallShape] = set()
        self._residency: Residency[LoadedPipeline] = Residency(
            fetch=self._fetch,
            load=self._load,
            measure=lambda loaded: loaded.memory_bytes,
            release=release_memory,
            budget_bytes=self._budget_bytes(),
            is_roomy=self._is_roomy,
        )
        self._room = DeviceRoom(self._meter, self._residency)
        self._idle = IdleWatch(self._residency.evict_expired, self._settings.idle_timeout_s)

    def render(self, job: ClipJob, watcher: Watcher) -> RenderedClip:
        """The clip's frames, in memory and off the device. Raises `TaskFailed`, `ProcessUnfit` or `RenderStopped`."""
        member = Member(job, watcher)
        self.render_together([member])
        return member.result()

    def render_together(self, members: Sequence[Member]) -> None:
        self._climb(members, self._climbs.first_rung(members[0].job.model.id))

    @contextmanager
    def ready(self, model: ModelSpec, stop: StopToken) -> Generator[None]:
        """For a call that waits for its turn: the model is fetched, and loaded if it fits beside what computes."""
        wanted = on_rung(model, self._climbs.first_rung(model.id))
        with self._idle.after(), self._residency.wanting(model.id):
            try:
                self._residency.bring_ahead(wanted, stop)
            except TaskFailed as failed:
                if failed.code is not FailureCode.GPU_OOM:
                    raise
                _logger.warning("no memory to load a model before its turn", model=model.id, error=failed.detail)
            yield

    def loaded_models(self) -> tuple[str, ...]:
        return self._residency.names()

    def close(self) -> None:
        self._idle.close()
        self._residency.evict_idle()

    def _fetch(self, model: ModelSpec) -> None:
        run_clean(
            lambda: fetch_pipeline(model, offline=self._settings.offline), stage=lambda: Stage.LOAD, device=self.device
        )

    def _load(self, model: ModelSpec, stop: StopToken) -> LoadedPipeline:
        """Called in a thread of its own. Raises only our own errors, which hold no tensors."""
        return run_clean(
            lambda: load_pipeline(model, device=self.device, stop=stop),
            stage=lambda: Stage.LOAD,
            device=self.device,
        )

    def _climb(self, members: Sequence[Member], rung: Rung) -> None:
        """Renders the clips together, in smaller batches, or on a higher rung; settles every one of them."""
        wanted = [member for member in members if not _is_over(member)]
        if not wanted:
            return
        if len(wanted) > 1 and self._shape_of(wanted, rung) in self._too_large:
            self._split(wanted, rung)
            return
        had_company = self._has_company(wanted[0].job.model)
        failed = self._try(wanted, rung)
        if failed is not None:
            # Also what came meanwhile: a model that was loaded beside the call.
            had_company = had_company or self._has_company(wanted[0].job.model)
            self._recover(wanted, rung, failed, had_company=had_company)

    def _recover(self, tried: Sequence[Member], rung: Rung, failed: TaskFailed, *, had_company: bool) -> None:
        is_short = failed.code is FailureCode.GPU_OOM
        higher = next_rung(rung, tried[0].job.model, had_company=had_company)
        is_every_ones = isinstance(failed, ProcessUnfit) or failed.code is FailureCode.TIMEOUT
        if len(tried) > 1 and not is_every_ones:
            # After other errors too: one clip may have caused it, which must not fail the others.
            if is_short:
                self._too_large.add(self._shape_of(tried, rung))
            self._split(tried, rung)
        elif is_short and higher is not None:
            self._climb_to(higher, tried)
        else:
            for member in tried:
                member.settle(renewed(failed))

    def _split(self, members: Sequence[Member], rung: Rung) -> None:
        for half in halves(members):
            self._climb(half, rung)

    def _climb_to(self, rung: Rung, members: Sequence[Member]) -> None:
        model = members[0].job.model
        _logger.warning("out of memory; trying another way", model=model.id, rung=rung.name.lower())
        self._residency.evict_idle(keep=model.id if rung is Rung.ALONE else None)
        self._climb(members, rung)
        # Not before it is known to help: a clip that is too large for every rung says nothing of the others.
        if any(member.has_clip for member in members):
            self._climbs.record(model.id, rung)

    def _try(self, members: Sequence[Member], rung: Rung) -> TaskFailed | None:
        """Makes one call. Returns its failure, if any; clips that were stopped meanwhile are settled."""
        call = Call(members)
        try:
            run_clean(lambda: self._run(call, rung), stage=lambda: call.stage, device=self.device)
        except TaskFailed as failed:
            return failed
        except RenderStopped:
            # All clips were stopped; each is settled with its own reason below.
            pass
        finally:
            # Here, and not where the call ran: its tensors are in use until its stack frames are gone.
            if self._meter and not self._room.running:
                self._meter.release()
        for member in members:
            _is_over(member)
        return None

    def _run(self, call: Call, rung: Rung) -> None:
        shape = self._shape_of(call.rows, rung)
        model = on_rung(call.model, rung)
        tokens = [member.watcher.stop for member in call.rows]
        with self._idle.after(), stopped_with_all(tokens) as stop, ExitStack() as device:
            with call.waiting():
                call.begin()
                loaded = device.enter_context(self._residency.hold(model, stop))
            with call.waiting():
                wish = partial(self._wish, model, shape, rung)
                stay = device.enter_context(self._room.hold(wish, stop, timeout_s=self._wait_limit_s))
            if rung is Rung.ALONE:
                # Others may have been loaded while it waited.
                self._residency.evict_idle(keep=model.id)
            self._measured(shape, stay, loaded, call)

    def _wish(self, model: ModelSpec, shape: CallShape, rung: Rung) -> Stay:
        return Stay(
            model.id,
            needed_bytes=self._peaks.find(shape),
            most_of_model=model.most_at_once,
            is_alone=rung is not Rung.BESIDE,
        )

    def _measured(self, shape: CallShape, stay: Stay, loaded: LoadedPipeline, call: Call) -> None:
        """Runs the call. The first one of a shape has the device to itself, and its memory peak is recorded."""
        meter = self._meter if self._room.must_be_measured(stay) else None
        if meter:
            # Cached blocks of calls of other shapes are of no use to this one.
            release_memory()
            meter.begin()
        before_bytes, epoch = meter.allocated_bytes() if meter else 0, self._residency.epoch()
        run_call(loaded.pipeline, call, self._maps, preview_interval_s=self._settings.preview_interval_s)
        # Weights that came or went beside the call are in its peak as well, and what is learned is kept for good.
        if meter and epoch is not None and epoch == self._residency.epoch():
            self._peaks.record(shape, max(0, meter.peak_bytes() - before_bytes))

    def _is_roomy(self) -> bool:
        """Whether a model may be loaded beside what computes. What another process will take, nobody here knows."""
        return self._settings.device_share == 1 and self._room.is_roomy()

    def _shape_of(self, members: Sequence[Member], rung: Rung) -> CallShape:
        clip, model = members[0].clip, on_rung(members[0].job.model, rung)
        return call_shape(clip, model, len(members), device=self._device_name)

    def _has_company(self, model: ModelSpec) -> bool:
        is_one_coming = self._residency.epoch() is None
        return self._room.running > 0 or is_one_coming or any(name != model.id for name in self._residency.names())

    def _budget_bytes(self) -> int | None:
        share, budget_bytes = self._settings.device_share, self._settings.memory_budget_bytes
        if budget_bytes is not None:
            return int(budget_bytes * share)
        memory = device_memory(self.device)
        return None if memory is None else int(memory.total_bytes * BUDGET_SHARE * share)


def _is_over(member: Member) -> bool:
    """Whether nothing more is to be done for it; settles it if it was stopped."""
    if member.is_stopped:
        member.settle_stopped()
    return member.is_settled
