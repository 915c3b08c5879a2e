"""The memory peak of a call is measured once, recorded, and used for the next call."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import pytest

from fixtures.engine_clips import requests_of, trio
from fixtures.renders import Recorder, make_clip, stopping_at
from fixtures.tiny_pipelines import tiny_spec
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.memory_profile import FilePeakStore, call_shape
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import Stage, TaskFailed
from phoenix.settings import EngineSettings

PEAK_BYTES = 30


class Gauge:
    """A device of 100 bytes on which every call takes `peak`, and nothing else takes any."""

    def __init__(self) -> None:
        self.peak = PEAK_BYTES
        self.released = 0

    def available_bytes(self) -> int:
        return 100

    def allocated_bytes(self) -> int:
        return 0

    def reset_peak(self) -> None:
        """Each call takes as much as the others."""

    def peak_bytes(self) -> int:
        return self.peak

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture
def peaks(tmp_path: Path) -> FilePeakStore:
    return FilePeakStore(tmp_path / "peaks.json")


@pytest.fixture
def engine(gauge: Gauge, peaks: FilePeakStore):
    engine = DiffusersEngine(device="cpu", meter=gauge, peaks=peaks)
    yield engine
    engine.close()


@pytest.fixture
def sharing_engine(gauge: Gauge, peaks: FilePeakStore):
    """An engine of two processes that take turns on the device."""
    engine = DiffusersEngine(device="cpu", settings=EngineSettings(device_share=0.5), meter=gauge, peaks=peaks)
    yield engine
    engine.close()


def test_only_the_first_call_of_a_shape_is_measured(engine, gauge, peaks, tiny_wan):
    def render(width: int) -> None:
        engine.render(ClipInputs(make_clip(width=width), tiny_wan), NullObserver())

    render(64)
    gauge.peak += 1
    render(64)
    render(128)
    shapes = [call_shape(make_clip(width=width), tiny_wan, 1, device="cpu") for width in (64, 128)]
    assert [peaks.find(shape) for shape in shapes] == [PEAK_BYTES, PEAK_BYTES + 1]


def test_a_batch_has_another_shape(engine, peaks, tiny_wan):
    engine.render_batch(requests_of(trio(tiny_wan)))
    assert peaks.find(call_shape(make_clip(), tiny_wan, 3, device="cpu")) == PEAK_BYTES
    assert peaks.find(call_shape(make_clip(), tiny_wan, 1, device="cpu")) is None


class AtTheDoor(Recorder):
    """Does something when its model is loaded and it asks for the device."""

    def __init__(self, do: Callable[[], object]) -> None:
        super().__init__()
        self._do = do

    def waiting(self) -> AbstractContextManager[None]:
        # It waits for its model first, and tells of that.
        if self.stages:
            self._do()
        return nullcontext()


def test_weights_that_are_loaded_during_a_measurement_do_not_count_in_the_peak(
    engine, peaks, tiny_wan, tiny_pipelines, tmp_path
):
    ltx, is_loaded = tiny_spec("ltx", tiny_pipelines("ltx"), tmp_path), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def bring_another(event: object) -> None:
            if event == 1:
                pool.submit(engine.render, ClipInputs(make_clip(), ltx), AtTheDoor(is_loaded.set))
                assert is_loaded.wait(30)

        engine.render(ClipInputs(make_clip(), tiny_wan), Recorder(bring_another))
    assert peaks.find(call_shape(make_clip(), tiny_wan, 1, device="cpu")) is None
    assert peaks.find(call_shape(make_clip(), ltx, 1, device="cpu")) == PEAK_BYTES


class Knot:
    """Holds itself, as a dropped pipeline does, until somebody collects cycles."""

    def __init__(self) -> None:
        self.itself = self


def test_dropped_tensors_that_are_not_collected_yet_do_not_count_as_weights(peaks, tiny_wan):
    left: list[weakref.ref[Knot]] = []

    class Littered(Gauge):
        def allocated_bytes(self) -> int:
            return 10 * sum(knot() is not None for knot in left)

    engine = DiffusersEngine(device="cpu", meter=Littered(), peaks=peaks)
    engine.render(ClipInputs(make_clip(), tiny_wan), AtTheDoor(lambda: left.append(weakref.ref(Knot()))))
    engine.close()
    assert peaks.find(call_shape(make_clip(), tiny_wan, 1, device="cpu")) == PEAK_BYTES


def test_a_stopped_call_records_no_peak(engine, peaks, tiny_wan):
    with pytest.raises(RenderStopped):
        engine.render(ClipInputs(make_clip(), tiny_wan), stopping_at(1))
    assert peaks.find(call_shape(make_clip(), tiny_wan, 1, device="cpu")) is None


def test_cached_memory_is_kept_for_the_next_call_on_a_device_of_its_own(engine, gauge, tiny_wan):
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert gauge.released == 0


@pytest.mark.parametrize("stop_at", [None, 1, Stage.DECODE])
def test_cached_memory_is_released_after_every_call_on_a_shared_device(sharing_engine, gauge, tiny_wan, stop_at):
    recorder = Recorder() if stop_at is None else stopping_at(stop_at)
    with suppress(RenderStopped):
        sharing_engine.render(ClipInputs(make_clip(), tiny_wan), recorder)
    assert gauge.released == 1


def test_cached_memory_is_released_after_a_failure_on_a_shared_device(sharing_engine, gauge, tiny_wan):
    with pytest.raises(TaskFailed):
        sharing_engine.render(ClipInputs(make_clip(width=72), tiny_wan), NullObserver())
    assert gauge.released == 1


def test_cached_memory_is_not_released_while_another_call_runs(sharing_engine, gauge, tiny_wan):
    sharing_engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    inside, leave = threading.Event(), threading.Event()

    def stay(_event: object) -> None:
        inside.set()
        assert leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(
            sharing_engine.render, ClipInputs(make_clip(), tiny_wan), Recorder(stay_after_the_load(stay))
        )
        assert inside.wait(30)
        sharing_engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
        assert gauge.released == 1
        leave.set()
        other.result(30)
    assert gauge.released == 2


def stay_after_the_load(stay: Callable[[object], None]) -> Callable[[object], None]:
    """A call is on the device from its text on."""
    return lambda event: None if event is Stage.LOAD else stay(event)


def test_no_more_calls_run_at_once_than_their_memory_allows(engine, tiny_wan):
    clip = make_clip(steps=6)
    engine.render(ClipInputs(clip, tiny_wan), NullObserver())
    running, lock, seen = 0, threading.Lock(), [0]

    class Counting(NullObserver):
        def on_step(self, step: int, steps: int) -> None:
            nonlocal running
            with lock:
                running += step == 1
                seen.append(running)
                running -= step == steps

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: engine.render(ClipInputs(clip, tiny_wan), Counting()), range(6)))
    assert 1 < max(seen) <= 3
