"""Batches of clips: which clips join a batch, and what a stop of some or all of its clips does."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from fixtures.renders import Recorder, make_clip, stopping_at
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.batcher import Batcher, Preload
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderRequest
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed

MODEL = load_catalog().get("wan-2.1-t2v-1.3b")


class BatcherHarness:
    """Records the seeds of each batch in `calls`, and renders nothing. A call waits for `gate`."""

    def __init__(self, *, window_s: float = 0.0, wait_limit_s: float = 30) -> None:
        self.slots = DeviceSlots(1, wait_limit_s=wait_limit_s)
        self.calls: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.batcher = Batcher(self.slots, window_s=window_s)
        self._pool = ThreadPoolExecutor(16)

    def submit(
        self,
        seed: int,
        *,
        limit: int = 4,
        preload: Preload | None = None,
        recorder: Recorder | None = None,
        **clip: Any,
    ) -> tuple[Recorder, Future[RenderedClip]]:
        recorder = recorder or Recorder()
        request = RenderRequest(ClipInputs(make_clip(seed=seed, **clip), MODEL), recorder)
        rendered = self._pool.submit(self.batcher.render, request, limit=limit, render=self.render, preload=preload)
        return recorder, rendered

    def render(self, requests: Sequence[RenderRequest]) -> None:
        self.calls.append(sorted(request.clip.seed for request in requests))
        self.begun.release()
        assert self.gate.wait(100)
        for request in requests:
            request.finish(RenderedClip(iter(()), 64, 64, 8, 9, batch_size=len(requests)))

    def wait_for_call(self) -> None:
        assert self.begun.acquire(timeout=100)

    def close(self) -> None:
        self.gate.set()
        self._pool.shutdown()


@pytest.fixture
def harness():
    harness = BatcherHarness()
    yield harness
    harness.close()


def eventually(is_so: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def test_a_full_batch_does_not_wait_for_the_end_of_its_window():
    harness = BatcherHarness(window_s=3600)
    clips = [harness.submit(seed, limit=3)[1] for seed in range(3)]
    assert [clip.result(100).batch_size for clip in clips] == [3, 3, 3]
    assert harness.calls == [[0, 1, 2]]
    harness.close()


def test_a_clip_without_others_is_rendered_after_its_window(harness: BatcherHarness):
    assert harness.submit(1)[1].result(100).batch_size == 1


def test_clips_that_arrive_while_the_device_is_busy_share_the_next_call(harness: BatcherHarness):
    harness.gate.clear()
    first = harness.submit(0)[1]
    harness.wait_for_call()
    later = [harness.submit(seed)[1] for seed in (1, 2, 3)]
    eventually(lambda: harness.slots.waiting == 1)
    eventually(lambda: harness.batcher.waiting_clips == 3)
    harness.gate.set()
    assert first.result(100).batch_size == 1
    assert [clip.result(100).batch_size for clip in later] == [3, 3, 3]
    assert harness.calls == [[0], [1, 2, 3]]


def test_clips_of_another_shape_are_another_call():
    harness = BatcherHarness(window_s=3600)
    clips = [harness.submit(seed, limit=2, width=64 * (1 + seed % 2))[1] for seed in range(4)]
    for clip in clips:
        clip.result(100)
    assert sorted(harness.calls) == [[0, 2], [1, 3]]
    harness.close()


def test_a_stopped_clip_leaves_its_waiting_batch_at_once_and_the_others_are_rendered(harness: BatcherHarness):
    harness.gate.clear()
    first = harness.submit(0)[1]
    harness.wait_for_call()
    (stopped, leaving), (_, staying) = harness.submit(1), harness.submit(2)
    eventually(lambda: harness.batcher.waiting_clips == 2)
    stopped.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        leaving.result(100)
    harness.gate.set()
    assert (first.result(100).batch_size, staying.result(100).batch_size) == (1, 1)
    assert harness.calls == [[0], [2]]


def test_a_batch_whose_clips_are_all_stopped_leaves_the_queue_of_the_device(harness: BatcherHarness):
    with harness.slots.acquire(StopToken()):
        recorders, clips = zip(*(harness.submit(seed) for seed in (1, 2)), strict=True)
        eventually(lambda: harness.batcher.waiting_clips == 2)
        eventually(lambda: harness.slots.waiting == 1)
        for recorder in recorders:
            recorder.stop.stop(StopReason.PREEMPT)
        for clip in clips:
            with pytest.raises(RenderStopped):
                clip.result(100)
        eventually(lambda: harness.slots.waiting == 0)
    assert harness.calls == []
    assert harness.submit(3)[1].result(100).batch_size == 1


def test_a_clip_that_is_stopped_in_a_call_does_not_wait_for_its_end(harness: BatcherHarness):
    harness.gate.clear()
    recorder, clip = harness.submit(1)
    harness.wait_for_call()
    recorder.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        clip.result(100)
    assert harness.slots.in_use == 1
    harness.gate.set()
    eventually(lambda: harness.slots.in_use == 0)


def test_a_wait_past_the_limit_fails_every_clip_of_the_batch():
    harness = BatcherHarness(wait_limit_s=0.05)
    with harness.slots.acquire(StopToken()):
        failures = [clip.exception(30) for _, clip in (harness.submit(1), harness.submit(2))]
    assert all(isinstance(failed, TaskFailed) and failed.code is FailureCode.TIMEOUT for failed in failures)
    assert failures[0] is not failures[1]
    harness.close()


def test_an_error_of_the_engine_reaches_every_clip_and_frees_the_slot(harness: BatcherHarness):
    def fail(_requests: Sequence[RenderRequest]) -> None:
        raise TaskFailed(FailureCode.ENGINE_FAILED, "it broke", stage=Stage.DENOISE)

    request = RenderRequest(ClipInputs(make_clip(), MODEL), Recorder())
    with pytest.raises(TaskFailed, match="it broke"):
        harness.batcher.render(request, limit=2, render=fail)
    eventually(lambda: harness.slots.in_use == 0)


def test_a_call_that_outlasts_its_clips_counts_as_running(harness: BatcherHarness):
    harness.gate.clear()
    recorder, clip = harness.submit(1)
    harness.wait_for_call()
    recorder.stop.stop(StopReason.CANCEL)
    assert isinstance(clip.exception(30), RenderStopped)
    assert harness.batcher.running_batches == 1
    harness.gate.set()
    eventually(lambda: harness.batcher.running_batches == 0)


def test_every_clip_of_a_batch_reports_that_its_model_is_loaded_the_late_ones_too(harness: BatcherHarness):
    loaded = threading.Event()

    @contextmanager
    def load(_stop: StopToken) -> Generator[None]:
        assert loaded.wait(100)
        yield

    first, rendered = harness.submit(1, preload=load)
    eventually(lambda: first.stages == [Stage.LOAD])
    late, also = harness.submit(2, preload=load)
    eventually(lambda: late.stages == [Stage.LOAD])
    loaded.set()
    assert (rendered.result(100).batch_size, also.result(100).batch_size) == (2, 2)
    assert first.stages == late.stages == [Stage.LOAD, Stage.QUEUE]


def test_a_clip_that_is_stopped_by_the_report_of_a_load_ends(harness: BatcherHarness):
    @contextmanager
    def load(stop: StopToken) -> Generator[None]:
        stop.check()
        yield

    _, rendered = harness.submit(1, preload=load, recorder=stopping_at(Stage.LOAD))

    with pytest.raises(RenderStopped):
        rendered.result(100)
    assert harness.batcher.waiting_clips == 0


def test_a_clip_that_may_not_share_a_call_joins_none_and_is_joined_by_none():
    harness = BatcherHarness(window_s=3600)
    open_clip = harness.submit(0, limit=2)[1]
    eventually(lambda: harness.batcher.waiting_clips == 1)
    assert harness.submit(1, limit=1)[1].result(100).batch_size == 1
    harness.submit(2, limit=2)[1].result(100)
    assert open_clip.result(100).batch_size == 2
    assert harness.calls == [[1], [0, 2]]
    harness.close()
