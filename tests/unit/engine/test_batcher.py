"""Clips that find each other: who joins whom, and what becomes of a batch when some, or all, of it is stopped."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from fixtures.renders import Recorder, make_clip
from phoenix.catalog.model import load_catalog
from phoenix.engine.batcher import Batcher
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderRequest
from phoenix.engine.slots import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed

MODEL = load_catalog().get("wan-2.1-t2v-1.3b")


class Studio:
    """Renders nothing, but in batches: `calls` holds the seeds of each. A call waits for `gate`."""

    def __init__(self, *, window_s: float = 0.0, wait_limit_s: float = 30) -> None:
        self.slots = DeviceSlots(1, wait_limit_s=wait_limit_s)
        self.calls: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.batcher = Batcher(self.slots, window_s=window_s)
        self._pool = ThreadPoolExecutor(16)

    def submit(self, seed: int, *, limit: int = 4, **clip: Any) -> tuple[Recorder, Future[RenderedClip]]:
        recorder = Recorder()
        request = RenderRequest(ClipInputs(make_clip(seed=seed, **clip), MODEL), recorder)
        return recorder, self._pool.submit(self.batcher.render, request, limit=limit, render=self.render)

    def render(self, requests: Sequence[RenderRequest]) -> None:
        self.calls.append(sorted(request.clip.seed for request in requests))
        self.begun.release()
        assert self.gate.wait(30)
        for request in requests:
            request.finish(RenderedClip(iter(()), 64, 64, 8, 9, batch_size=len(requests)))

    def wait_for_call(self) -> None:
        assert self.begun.acquire(timeout=30)

    def close(self) -> None:
        self.gate.set()
        self._pool.shutdown()


@pytest.fixture
def studio():
    studio = Studio()
    yield studio
    studio.close()


def eventually(is_so: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def test_a_full_batch_does_not_wait_for_the_end_of_its_window():
    studio = Studio(window_s=60)
    clips = [studio.submit(seed, limit=3)[1] for seed in range(3)]
    assert [clip.result(30).batch_size for clip in clips] == [3, 3, 3]
    assert studio.calls == [[0, 1, 2]]
    studio.close()


def test_a_clip_that_nobody_joins_is_rendered_after_its_window(studio: Studio):
    assert studio.submit(1)[1].result(30).batch_size == 1


def test_clips_that_come_while_the_device_is_busy_are_its_next_call(studio: Studio):
    studio.gate.clear()
    first = studio.submit(0)[1]
    studio.wait_for_call()
    later = [studio.submit(seed)[1] for seed in (1, 2, 3)]
    eventually(lambda: studio.slots.waiting == 1)
    eventually(lambda: studio.batcher.waiting_clips == 3)
    studio.gate.set()
    assert first.result(30).batch_size == 1
    assert [clip.result(30).batch_size for clip in later] == [3, 3, 3]
    assert studio.calls == [[0], [1, 2, 3]]


def test_clips_of_another_shape_are_another_call():
    studio = Studio(window_s=60)
    clips = [studio.submit(seed, limit=2, width=64 * (1 + seed % 2))[1] for seed in range(4)]
    for clip in clips:
        clip.result(30)
    assert sorted(studio.calls) == [[0, 2], [1, 3]]
    studio.close()


def test_a_clip_that_is_stopped_while_it_waits_is_let_go_at_once_and_the_others_are_rendered(studio: Studio):
    studio.gate.clear()
    first = studio.submit(0)[1]
    studio.wait_for_call()
    (stopped, leaving), (_, staying) = studio.submit(1), studio.submit(2)
    eventually(lambda: studio.batcher.waiting_clips == 2)
    stopped.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        leaving.result(30)
    studio.gate.set()
    assert (first.result(30).batch_size, staying.result(30).batch_size) == (1, 1)
    assert studio.calls == [[0], [2]]


def test_a_batch_that_nobody_wants_any_more_leaves_the_queue_for_the_device(studio: Studio):
    with studio.slots.acquire(StopToken()):
        recorders, clips = zip(*(studio.submit(seed) for seed in (1, 2)), strict=True)
        eventually(lambda: studio.batcher.waiting_clips == 2)
        eventually(lambda: studio.slots.waiting == 1)
        for recorder in recorders:
            recorder.stop.stop(StopReason.PREEMPT)
        for clip in clips:
            with pytest.raises(RenderStopped):
                clip.result(30)
        eventually(lambda: studio.slots.waiting == 0)
    assert studio.calls == []
    assert studio.submit(3)[1].result(30).batch_size == 1


def test_a_clip_that_is_stopped_in_a_call_does_not_wait_for_its_end(studio: Studio):
    studio.gate.clear()
    recorder, clip = studio.submit(1)
    studio.wait_for_call()
    recorder.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        clip.result(30)
    assert studio.slots.in_use == 1
    studio.gate.set()
    eventually(lambda: studio.slots.in_use == 0)


def test_a_wait_past_the_limit_fails_every_clip_of_the_batch():
    studio = Studio(wait_limit_s=0.05)
    with studio.slots.acquire(StopToken()):
        failures = [clip.exception(30) for _, clip in (studio.submit(1), studio.submit(2))]
    assert all(isinstance(failed, TaskFailed) and failed.code is FailureCode.TIMEOUT for failed in failures)
    assert failures[0] is not failures[1]
    studio.close()


def test_an_error_of_the_engine_reaches_every_clip_and_frees_the_slot(studio: Studio):
    def fail(_requests: Sequence[RenderRequest]) -> None:
        raise TaskFailed(FailureCode.ENGINE_FAILED, "it broke", stage=Stage.DENOISE)

    request = RenderRequest(ClipInputs(make_clip(), MODEL), Recorder())
    with pytest.raises(TaskFailed, match="it broke"):
        studio.batcher.render(request, limit=2, render=fail)
    eventually(lambda: studio.slots.in_use == 0)


def test_a_call_that_outlasts_its_clips_is_still_under_way(studio: Studio):
    studio.gate.clear()
    recorder, clip = studio.submit(1)
    studio.wait_for_call()
    recorder.stop.stop(StopReason.CANCEL)
    assert isinstance(clip.exception(30), RenderStopped)
    assert studio.batcher.running_batches == 1
    studio.gate.set()
    eventually(lambda: studio.batcher.running_batches == 0)
