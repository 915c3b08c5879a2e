"""What only a card can show, in minutes: run it on a new kind of device, before the figures of `measure` mean anything.

    python benchmarks/gpu/check_device.py [--device auto]

Prints a line per check; exits with 1 if one failed. On a CPU only those run that need no memory of a device.
"""

import argparse
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from wan import save_wan, wan_spec

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.backends.diffusers.out_of_memory import run_clean
from phoenix.engine.device import CudaMeter, device_memory, device_name, is_broken, pick_device, release_memory
from phoenix.engine.interface import ClipInputs, NullObserver, ProcessUnfit
from phoenix.engine.memory_profile import InMemoryPeakStore, call_shape
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import EngineSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures import child_processes

PLACES = ("never", "model", "group")
TOLERANCE = 3
"""Of 255: another order of sums, as compiled blocks have, may round otherwise."""

NEIGHBOUR_BYTES = 2**30
# Both in a process of their own: one is to be somebody else, the other is lost afterwards.
NEIGHBOUR = "import sys, torch; held = torch.ones(2**30, dtype=torch.uint8, device=sys.argv[1]); print(1); input()"
BREAK = "--break"


@dataclass(frozen=True)
class Subject:
    device: str
    model: ModelSpec

    def placed(self, offload: str, *, compiled: bool = False) -> ModelSpec:
        return self.model.model_copy(update={"offload": offload, "compile_blocks": compiled})

    @contextmanager
    def engine(self, peaks: InMemoryPeakStore | None = None) -> Generator[DiffusersEngine]:
        settings = EngineSettings(preview_interval_s=0.0001)
        engine = DiffusersEngine(device=self.device, settings=settings, peaks=peaks)
        try:
            yield engine
        finally:
            engine.close()


class RecordingObserver(NullObserver):
    """Counts previews, and asks for a stop after step `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.previews, self._stop_at = 0, stop_at

    def on_step(self, step: int, steps: int) -> None:
        if step == self._stop_at:
            self.stop.stop(StopReason.CANCEL)
        super().on_step(step, steps)

    def on_preview(self, picture: bytes) -> None:
        self.previews += len(picture) > 0


def weights_make_the_same_clip_wherever_they_lie_also_after_a_stop(subject: Subject) -> None:
    plain: np.ndarray | None = None
    for place in PLACES:
        model = subject.placed(place)
        with subject.engine() as engine:
            _stopped(engine, model)
            for _ in range(2):
                made = _pixels(engine, model)
                plain = made if plain is None else plain
                assert _furthest(made, plain) <= TOLERANCE, f"weights placed {place!r} make another clip"
                _stopped(engine, model)


def previews_come_from_the_second_clip_on(subject: Subject) -> None:
    with subject.engine() as engine:
        _pixels(engine, subject.model)
        observer = RecordingObserver()
        _pixels(engine, subject.model, observer=observer)
    assert observer.previews


def what_a_clip_takes_is_measured(subject: Subject) -> None:
    for place in ("never", "model"):
        peaks, clip = InMemoryPeakStore(), _clip()
        with subject.engine(peaks) as engine:
            _pixels(engine, subject.placed(place))
        peak_bytes = peaks.find(call_shape(clip, subject.placed(place), 1, device=device_name(subject.device)))
        assert peak_bytes, f"nothing was learned with weights placed {place!r}"
        print(f"    {place}: {peak_bytes / 2**20:.0f} MiB")


def memory_returns_when_a_model_goes(subject: Subject) -> None:
    """Twice: what the libraries keep for good is there after the first time."""
    meter = CudaMeter(subject.device)
    for place in PLACES:
        left_bytes: list[int] = []
        for _ in range(2):
            with subject.engine() as engine:
                _pixels(engine, subject.placed(place))
            left_bytes.append(meter.allocated_bytes())
        assert left_bytes[1] <= left_bytes[0], f"weights placed {place!r} leave {left_bytes} bytes"


def a_real_shortage_is_reported_or_survived_and_leaves_nothing(subject: Subject) -> None:
    """Torch's own limit on this process brings it about, which its allocator treats as the end of the card."""
    memory, large = device_memory(subject.device), _clip(width=832, height=480)
    assert memory is not None
    for share_of_peak in (0.9, 0.6, 0.3, 0.05):
        with subject.engine() as engine:
            before = _pixels(engine, subject.model)
            meter = CudaMeter(subject.device)
            meter.reset_peak()
            _pixels(engine, subject.model, large)
            torch.cuda.set_per_process_memory_fraction(
                share_of_peak * meter.peak_bytes() / memory.total_bytes, subject.device
            )
            try:
                print(f"    {share_of_peak} of the peak: {_outcome(engine, subject.model, large)}")
            finally:
                torch.cuda.set_per_process_memory_fraction(1.0, subject.device)
            assert _furthest(_pixels(engine, subject.model), before) <= TOLERANCE


def compiled_blocks_make_the_same_clip(subject: Subject) -> None:
    with subject.engine() as engine:
        plain = _pixels(engine, subject.model)
    with subject.engine() as engine:
        assert _furthest(_pixels(engine, subject.placed("never", compiled=True)), plain) <= TOLERANCE
        _stopped(engine, subject.placed("never", compiled=True))


def a_neighbour_on_the_device_is_counted(subject: Subject) -> None:
    before = device_memory(subject.device)
    argv = [sys.executable, "-c", NEIGHBOUR, subject.device]
    with child_processes.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        beside = device_memory(subject.device)
        neighbour.communicate("\n")
    assert before is not None
    assert beside is not None
    assert beside.used_bytes - before.used_bytes >= NEIGHBOUR_BYTES


def a_broken_device_makes_the_process_unfit(subject: Subject) -> None:
    argv = [sys.executable, __file__, "--device", subject.device, BREAK]
    ended = child_processes.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


def other_devices_are_left_alone(subject: Subject) -> None:
    others = {f"cuda:{number}" for number in range(torch.cuda.device_count())} - {subject.device}
    touched = [other for other in others if torch.cuda.memory_reserved(other)]
    assert not touched, f"{touched} were allocated on"
    has_context = getattr(torch._C, "_cuda_hasPrimaryContext", lambda _number: False)
    held = [other for other in others if has_context(int(other.partition(":")[2]))]
    assert not held, f"a context is held on {held}"


def break_device(device: str) -> None:
    """An index out of bounds, which the device finds out after the call that caused it has returned."""

    def work() -> None:
        torch.zeros(4, device=device)[torch.tensor([9], device=device)].cpu()

    with suppress(ProcessUnfit):
        run_clean(work, stage=lambda: Stage.DENOISE, device=device)
        raise AssertionError("an index out of bounds was let pass")
    assert is_broken(device)
    assert device_memory(device) is None
    release_memory()


Check = Callable[[Subject], None]

ANYWHERE: tuple[Check, ...] = (
    weights_make_the_same_clip_wherever_they_lie_also_after_a_stop,
    previews_come_from_the_second_clip_on,
)
ON_A_CARD: tuple[Check, ...] = (
    what_a_clip_takes_is_measured,
    memory_returns_when_a_model_goes,
    a_real_shortage_is_reported_or_survived_and_leaves_nothing,
    compiled_blocks_make_the_same_clip,
    a_neighbour_on_the_device_is_counted,
    a_broken_device_makes_the_process_unfit,
    other_devices_are_left_alone,
)


def main() -> int:
    options = _read_options()
    device = pick_device(options.device)
    if options.break_device:
        break_device(device)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = wan_spec(save_wan(Path(folder), is_full=False, device=device), is_full=False)
        checks = ANYWHERE if device == "cpu" else ANYWHERE + ON_A_CARD
        failed = [check for check in checks if not _holds(check, Subject(device, model))]
    return int(bool(failed))


def _holds(check: Check, subject: Subject) -> bool:
    print(check.__name__.replace("_", " "), flush=True)
    try:
        check(subject)
    except Exception:  # noqa: BLE001 - the others are of interest all the same
        traceback.print_exc()
        return False
    return True


def _clip(width: int = 256, height: int = 256) -> ResolvedClip:
    return ResolvedClip(
        index=0,
        prompt="a red balloon over a harbour at dawn",
        seed=7,
        steps=4,
        guidance_scale=5.0,
        width=width,
        height=height,
        fps=16,
        num_frames=17,
    )


def _pixels(
    engine: DiffusersEngine,
    model: ModelSpec,
    clip: ResolvedClip | None = None,
    observer: RecordingObserver | None = None,
) -> np.ndarray:
    rendered = engine.render(ClipInputs(clip or _clip(), model), observer or RecordingObserver())
    return np.frombuffer(b"".join(rendered.frames), np.uint8).astype(int)


def _furthest(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one - other).max())


def _stopped(engine: DiffusersEngine, model: ModelSpec) -> None:
    try:
        _pixels(engine, model, observer=RecordingObserver(stop_at=2))
    except RenderStopped:
        return
    raise AssertionError("it went on to the end")


def _outcome(engine: DiffusersEngine, model: ModelSpec, clip: ResolvedClip) -> str:
    try:
        _pixels(engine, model, clip)
    except TaskFailed as failed:
        if failed.code is not FailureCode.GPU_OOM:
            raise
        return failed.detail
    return "made all the same"


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules[__name__].__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument(BREAK, action="store_true", dest="break_device", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
