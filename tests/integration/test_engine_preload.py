"""Models are loaded before their clips have a slot, while loaded models compute."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.engine_clips import requests_of, trio
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.backends.diffusers.loading import LoadedPipeline
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings


@pytest.fixture
def ltx(tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec("ltx", tiny_pipelines("ltx"), tmp_path).model_copy(update={"memory_bytes": 600_000})


class GatedEngine(OpenEngine):
    """`before_load` is called with each model, in the thread that is about to read it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.before_load: Callable[[ModelSpec], object] = lambda _: None

    def load(self, model: ModelSpec, *, device: str, stop: StopToken) -> LoadedPipeline:
        self.before_load(model)
        return super().load(model, device=device, stop=stop)


class Gate:
    """Where a thread waits until it is let through."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def wait(self, *_: object) -> None:
        self.reached.set()
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


def wait_at_a_step(gate: Gate) -> Callable[[Stage | int], None]:
    return lambda event: None if isinstance(event, Stage) else gate.wait()


class EngineHarness:
    """A device with one slot, and clips that wait for it in threads of their own."""

    def __init__(self, pool: ThreadPoolExecutor, **settings: Any) -> None:
        self.engine = GatedEngine(**settings)
        self.slots = DeviceSlots(1, wait_limit_s=30)
        self.engines = EngineRegistry(
            engine=EngineSettings(**settings),
            animatic=AnimaticSettings(),
            device="cpu",
            slots=self.slots,
            opened={"diffusers": self.engine},
        )
        self.submit = lambda model, observer=None: pool.submit(self.render, model, observer)

    def render(self, model: ModelSpec, observer: Recorder | None = None) -> int:
        return len(list(self.engines.render(ClipInputs(make_clip(), model), observer or NullObserver()).frames))

    def drop_models(self) -> None:
        """Waits for the calls: a call uses its model a moment longer than the reader of the last frame can see."""
        wait_for(lambda: self.engines.is_idle)
        self.engine.close()
        assert not self.engine.loaded_models()


@contextmanager
def open_harness(**settings: Any) -> Generator[EngineHarness]:
    with ThreadPoolExecutor(4) as pool:
        harness = EngineHarness(pool, **settings)
        yield harness
    harness.engines.close()


class Waiter(Recorder):
    """Knows whether it waits: for its model or its turn."""

    def __init__(self, on_event: Callable[[Stage | int], None] | None = None) -> None:
        super().__init__(on_event)
        self.waits = self.times = 0

    @contextmanager
    def waiting(self) -> Generator[None]:
        self.times += 1
        self.waits += 1
        try:
            yield
        finally:
            self.waits -= 1


@pytest.mark.parametrize("max_batch_size", [1, 3])
def test_clips_of_a_loaded_model_are_rendered_while_another_loads(tiny_wan, ltx, max_batch_size):
    with open_harness(max_batch_size=max_batch_size) as harness:
        harness.render(tiny_wan)
        gate = Gate()
        harness.engine.before_load = gate.wait
        loading = harness.submit(ltx)
        assert gate.reached.wait(30)
        assert harness.submit(tiny_wan).result(30) == 9
        assert not loading.done()
        assert not harness.engines.is_idle
        gate.open()
        assert loading.result(30) == 9


def test_a_clip_that_is_stopped_while_its_model_loads_ends_at_once_and_blocks_no_other(tiny_wan, ltx):
    with open_harness() as harness:
        gate, leaving = Gate(), Recorder()
        harness.engine.before_load = gate.wait
        loading = harness.submit(ltx, leaving)
        assert gate.reached.wait(30)
        leaving.stop.stop(StopReason.CANCEL)
        assert isinstance(loading.exception(30), RenderStopped)
        gate.open()
        assert harness.render(tiny_wan) == 9


def test_a_long_load_is_no_stall_whether_before_the_turn_or_in_it(tiny_wan):
    with open_harness() as harness:
        waiter, waits = Waiter(), list[int]()
        harness.engine.before_load = lambda _: waits.append(waiter.waits)
        harness.render(tiny_wan, waiter)
        harness.drop_models()
        harness.engine.render(ClipInputs(make_clip(), tiny_wan), waiter)
        assert waits == [1, 1]
        assert waiter.waits == 0
        assert waiter.stages == [
            Stage.LOAD,
            Stage.QUEUE,
            *[Stage.LOAD, Stage.TEXT, Stage.DENOISE, Stage.DECODE] * 2,
        ]


def test_a_model_that_does_not_fit_with_a_running_call_is_loaded_in_its_turn(tiny_wan, ltx):
    with open_harness(memory_budget_bytes=700_000) as harness:
        gate, waiter = Gate(), Waiter()
        stay = Recorder(lambda event: gate.wait() if event == 1 else None)
        computing = harness.submit(tiny_wan, stay)
        assert gate.reached.wait(30)
        waiting = harness.submit(ltx, waiter)
        wait_for(lambda: harness.slots.waiting == 1)
        assert [load.model.id for load in harness.engine.loads] == ["tiny-wan"]
        gate.open()
        assert (computing.result(30), waiting.result(30)) == (9, 9)
        assert harness.engine.loaded_models() == ("tiny-ltx",)


def test_a_process_that_shares_its_device_loads_in_its_turn(tiny_wan):
    with open_harness(device_share=0.5) as harness:
        held: list[int] = []
        harness.engine.before_load = lambda _: held.append(harness.slots.in_use)
        assert harness.render(tiny_wan) == 9
        assert held == [1]


def test_a_shortage_during_a_preload_does_not_fail_the_clip(tiny_wan):
    with open_harness() as harness:

        def fail_without_a_slot(_: ModelSpec) -> None:
            if not harness.slots.in_use:
                raise TaskFailed(FailureCode.GPU_OOM, "none was left", stage=Stage.LOAD)

        harness.engine.before_load = fail_without_a_slot
        assert harness.render(tiny_wan) == 9


def test_a_batch_that_gets_no_memory_in_time_is_not_split(tiny_wan):
    engine, gate = DiffusersEngine(device="cpu", wait_limit_s=0.05), Gate()
    one_call = tiny_wan.model_copy(update={"concurrency": 1})
    waiters = [Waiter() for _ in range(3)]
    requests = requests_of(trio(one_call), waiters)
    with ThreadPoolExecutor(1) as pool:
        # On the device from its first step on, and not to be joined.
        other = pool.submit(engine.render, ClipInputs(make_clip(), one_call), Recorder(wait_at_a_step(gate)))
        assert gate.reached.wait(60)
        engine.render_batch(requests)
        gate.open()
        other.result(60)
    for request, waiter in zip(requests, waiters, strict=True):
        with pytest.raises(TaskFailed) as failed:
            request.result()
        assert failed.value.code is FailureCode.TIMEOUT
        assert waiter.times == 2
    engine.close()


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")
