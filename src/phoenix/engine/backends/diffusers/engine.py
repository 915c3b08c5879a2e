"""Renders clips with diffusers pipelines: holds their models, and finds a way to run each call in the memory left."""

from collections.abc import Sequence
from contextlib import ExitStack

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backend import ProcessUnfit, renewed
from phoenix.engine.backends.diffusers.calling import run_call
from phoenix.engine.backends.diffusers.failures import run_clean
from phoenix.engine.backends.diffusers.idling import IdleWatch
from phoenix.engine.backends.diffusers.ladder import Rung, next_rung, on_rung
from phoenix.engine.backends.diffusers.latents import ColourMaps
from phoenix.engine.backends.diffusers.loading import LoadedPipeline, load_pipeline
from phoenix.engine.backends.diffusers.residency import Residency
from phoenix.engine.backends.diffusers.watching import Call
from phoenix.engine.batching import halves
from phoenix.engine.device import device_memory, open_meter, pick_device, release_memory
from phoenix.engine.member import Member
from phoenix.engine.peaks import CallShape, MemoryPeaks, Peaks
from phoenix.engine.room import DeviceRoom, Meter, Stay
from phoenix.engine.spec import ClipJob, RenderedClip, Watcher
from phoenix.engine.stopping import RenderStopped, StopToken, stopped_with_all
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import EngineSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

BUDGET_SHARE = 0.9
"""Of the device's memory, for weights, where no budget is set; the rest is for the activations of small models."""


class DiffusersEngine:
    """One device's pipelines. `render` may be called from several threads: they share the weights and nothing else.

    `meter` reads the device's memory; it is the device's own unless given.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        settings: EngineSettings | None = None,
        peaks: Peaks | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.device = pick_device(device)
        self._settings = settings or EngineSettings()
        self._peaks = peaks or MemoryPeaks()
        self._meter = meter or open_meter(self.device)
        self._room = DeviceRoom(self._meter)
        self._maps = ColourMaps()
        self._offloaded: set[str] = set()
        self._too_large: set[CallShape] = set()
        self._residency: Residency[LoadedPipeline] = Residency(
            load=self._load,
            measure=lambda loaded: loaded.memory_bytes,
            release=release_memory,
            budget_bytes=self._budget_bytes(),
        )
        self._idle = IdleWatch(self._residency.evict_idle, self._settings.idle_timeout_s)

    def render(self, job: ClipJob, watcher: Watcher) -> RenderedClip:
        """The clip's frames, in memory and off the device. Raises `TaskFailed`, `ProcessUnfit` or `RenderStopped`."""
        member = Member(job, watcher)
        self.render_together([member])
        return member.result()

    def render_together(self, members: Sequence[Member]) -> None:
        model = members[0].job.model
        self._climb(members, Rung.OFFLOADED if model.id in self._offloaded else Rung.BESIDE)

    def loaded_models(self) -> tuple[str, ...]:
        return self._residency.names()

    def close(self) -> None:
        self._idle.close()
        self._residency.evict_idle()

    def _load(self, model: ModelSpec, stop: StopToken) -> LoadedPipeline:
        """In a thread of its own; the error that leaves it is one of ours, and holds no tensor."""
        return run_clean(
            lambda: load_pipeline(model, device=self.device, offline=self._settings.offline, stop=stop),
            stage=lambda: Stage.LOAD,
            device=self.device,
        )

    def _climb(self, members: Sequence[Member], rung: Rung) -> None:
        """Renders the clips together, or in smaller parts, or on a higher rung; settles every one of them."""
        wanted = [member for member in members if not _is_over(member)]
        if not wanted:
            return
        if len(wanted) > 1 and _shape_of(wanted, rung) in self._too_large:
            self._split(wanted, rung)
            return
        had_company = self._has_company(wanted[0].job.model)
        failed = self._try(wanted, rung)
        if failed is not None:
            self._recover(wanted, rung, failed, had_company=had_company)

    def _recover(self, tried: Sequence[Member], rung: Rung, failed: TaskFailed, *, had_company: bool) -> None:
        is_short = failed.code is FailureCode.GPU_OOM
        higher = next_rung(rung, tried[0].job.model, had_company=had_company)
        if len(tried) > 1 and not isinstance(failed, ProcessUnfit):
            # After any other error too: it may be one clip's fault, and must not be that of the others.
            if is_short:
                self._too_large.add(_shape_of(tried, rung))
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
        if rung is Rung.OFFLOADED:
            self._offloaded.add(model.id)
        self._residency.evict_idle(keep=model.id if rung is Rung.ALONE else None)
        self._climb(members, rung)

    def _try(self, members: Sequence[Member], rung: Rung) -> TaskFailed | None:
        """One call. Returns how it failed, if it did; clips that were stopped meanwhile have been settled."""
        call = Call(members)
        try:
            run_clean(lambda: self._run(call, rung), stage=lambda: call.stage, device=self.device)
        except TaskFailed as failed:
            return failed
        except RenderStopped:
            # All of them were; each is told so, for its own reason, below.
            pass
        finally:
            # Here, and not where the call ran: until its frames are gone its tensors are in use.
            if self._meter and not self._room.running:
                self._meter.release()
        for member in members:
            _is_over(member)
        return None

    def _run(self, call: Call, rung: Rung) -> None:
        shape = _shape_of(call.rows, rung)
        model = on_rung(call.model, rung)
        tokens = [member.watcher.stop for member in call.rows]
        call.begin()
        with (
            self._idle.after(),
            stopped_with_all(tokens) as stop,
            self._residency.hold(model, stop) as loaded,
            ExitStack() as device,
        ):
            stay = Stay(
                model.id,
                needed_bytes=self._peaks.find(shape),
                most_of_model=model.most_at_once,
                is_alone=rung is not Rung.BESIDE,
            )
            with call.waiting():
                device.enter_context(self._room.hold(stay, self._residency.memory_bytes(), stop))
            self._measured(shape, stay, loaded, call)

    def _measured(self, shape: CallShape, stay: Stay, loaded: LoadedPipeline, call: Call) -> None:
        """Runs the call. The first of its shape has the device alone, and shows what such a call takes."""
        meter = self._meter if self._room.must_be_measured(stay) else None
        before_bytes = meter.allocated_bytes() if meter else 0
        if meter:
            # Blocks that calls of another shape have left in the cache serve none of this one.
            release_memory()
            meter.begin()
        run_call(loaded.pipeline, call, self._maps, preview_interval_s=self._settings.preview_interval_s)
        if meter:
            self._peaks.record(shape, max(0, meter.peak_bytes() - before_bytes))

    def _has_company(self, model: ModelSpec) -> bool:
        return self._room.running > 0 or any(name != model.id for name in self._residency.names())

    def _budget_bytes(self) -> int | None:
        share, budget_bytes = self._settings.device_share, self._settings.memory_budget_bytes
        if budget_bytes is not None:
            return int(budget_bytes * share)
        memory = device_memory(self.device)
        return None if memory is None else int(memory.total_bytes * BUDGET_SHARE * share)


def _is_over(member: Member) -> bool:
    """Whether nothing more is to be done for it; says the last word to one that was stopped."""
    if member.is_stopped:
        member.settle_stopped()
    return member.is_settled


def _shape_of(members: Sequence[Member], rung: Rung) -> CallShape:
    clip, model = members[0].clip, on_rung(members[0].job.model, rung)
    return CallShape(model.id, model.offload, clip.width, clip.height, clip.num_frames, len(members))
