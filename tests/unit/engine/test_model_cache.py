"""The model cache, with plain objects as models."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.model_cache import HostBudget, ModelCache
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken

SIZES = {"a": 40, "b": 40, "c": 40, "huge": 500}


def model(model_id: str, *, expected_bytes: int | None = None, offload: str = "auto") -> ModelSpec:
    changes = {"id": model_id, "memory_bytes": expected_bytes, "offload": offload}
    return load_catalog().get("animatic").model_copy(update=changes)


class CacheHarness:
    """A cache of names that counts loads and releases. A load waits for `gate`."""

    def __init__(self, budget_bytes: int | None, *, host_budget_bytes: int | None = None) -> None:
        self.loads: list[str] = []
        self.tokens: list[StopToken] = []
        self.now_s = 0.0
        self.releases = 0
        self.gate = threading.Event()
        self.gate.set()
        self.is_broken = False
        self.can_load = True
        self.fetches: list[str] = []
        self.cache = ModelCache(
            fetch=lambda spec: self.fetches.append(spec.id),
            load=self._load,
            measure=SIZES.__getitem__,
            release=self._release,
            budget_bytes=budget_bytes,
            host=None if host_budget_bytes is None else self._host(host_budget_bytes),
            can_load=lambda: self.can_load,
            clock=lambda: self.now_s,
        )

    def waiting(self, model_id: str) -> int:
        return self.cache.waiting(model_id)

    def use(self, model_id: str, **changes: Any) -> None:
        with self.cache.acquire(model(model_id, **changes), StopToken()) as loaded:
            assert loaded == model_id

    def _load(self, spec: ModelSpec, stop: StopToken) -> str:
        self.loads.append(spec.id)
        self.tokens.append(stop)
        assert self.gate.wait(100)
        if self.is_broken:
            raise RuntimeError("half a download")
        return spec.id

    def _host(self, budget_bytes: int) -> HostBudget[str]:
        """As if a model with the offload mode `model` were in the memory of the machine, and any other were not."""
        self.in_host: set[str] = set()

        def expect(spec: ModelSpec) -> int:
            self.in_host |= {spec.id} if spec.offload == "model" else set()
            return SIZES[spec.id] if spec.id in self.in_host else 0

        return HostBudget(
            budget_bytes=budget_bytes,
            expect=expect,
            measure=lambda name: SIZES[name] if name in self.in_host else 0,
            refusal=lambda spec, needed_bytes: MemoryError(f"{spec.id} needs {needed_bytes} of {budget_bytes}"),
        )

    def _release(self) -> None:
        self.releases += 1


def test_a_model_is_loaded_once_and_stays():
    harness = CacheHarness(budget_bytes=100)
    harness.use("a")
    harness.use("a")
    assert harness.loads == ["a"]
    assert harness.cache.names() == ("a",)


def test_concurrent_first_requests_cause_one_load():
    harness = CacheHarness(budget_bytes=100)
    harness.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(harness.use, "a") for _ in range(8)]
        harness.gate.set()
        for use in uses:
            use.result()
    assert harness.loads == ["a"]


def test_the_least_recently_used_model_is_evicted_for_another():
    harness = CacheHarness(budget_bytes=100)
    for model_id in ("a", "b", "a", "c"):
        harness.use(model_id)
    assert harness.cache.names() == ("a", "c")
    assert harness.releases == 1


def test_one_model_is_dropped_by_its_id_unless_it_is_in_use():
    harness = CacheHarness(budget_bytes=100)
    for model_id in ("a", "b"):
        harness.use(model_id)
    with harness.cache.acquire(model("a"), StopToken()):
        dropped = [harness.cache.evict_idle(only="a"), harness.cache.evict_idle(only="b")]
    assert (dropped, harness.cache.names(), harness.releases) == ([0, 1], ("a",), 1)


def test_memory_is_freed_before_the_load_if_the_entry_has_its_size():
    harness = CacheHarness(budget_bytes=100)
    harness.use("a")
    harness.use("b")
    harness.gate.clear()
    thread = threading.Thread(target=harness.use, args=("c",), kwargs={"expected_bytes": 40})
    thread.start()
    while "c" not in harness.loads:
        threading.Event().wait(0.001)
    assert harness.cache.names() == ("b",)
    harness.gate.set()
    thread.join()


def test_a_model_that_grows_evicts_an_unused_model_and_not_itself(monkeypatch: pytest.MonkeyPatch):
    harness = CacheHarness(budget_bytes=100)
    harness.use("a")
    harness.use("b")
    epoch = harness.cache.epoch()
    monkeypatch.setitem(SIZES, "a", 70)
    harness.cache.measure_again("a")
    assert (harness.cache.names(), harness.cache.memory_bytes()) == (("a",), 70)
    assert harness.cache.epoch() != epoch


def test_a_model_in_use_is_not_evicted():
    harness = CacheHarness(budget_bytes=50)
    with harness.cache.acquire(model("a"), StopToken()):
        harness.use("b")
        assert "a" in harness.cache.names()
    harness.use("c")
    assert harness.cache.names() == ("c",)


def test_a_model_larger_than_the_budget_is_loaded_alone():
    harness = CacheHarness(budget_bytes=100)
    harness.use("a")
    harness.use("huge")
    assert harness.cache.names() == ("huge",)


def test_without_a_budget_everything_stays():
    harness = CacheHarness(budget_bytes=None)
    for model_id in ("a", "b", "c", "huge"):
        harness.use(model_id)
    assert len(harness.cache.names()) == 4


def test_a_failed_load_leaves_no_entry_and_can_be_retried():
    harness = CacheHarness(budget_bytes=100)
    harness.is_broken = True
    with pytest.raises(RuntimeError, match="half a download"):
        harness.use("a")
    assert harness.cache.names() == ()
    harness.is_broken = False
    harness.use("a")
    assert harness.loads == ["a", "a"]


def test_a_clip_that_waits_for_the_load_of_another_can_be_stopped():
    harness, token = CacheHarness(budget_bytes=100), StopToken()
    harness.gate.clear()
    loader = threading.Thread(target=harness.use, args=("a",))
    loader.start()
    while not harness.loads:
        threading.Event().wait(0.001)
    threading.Timer(0.02, token.stop, (StopReason.CANCEL,)).start()
    with pytest.raises(RenderStopped):
        harness.cache.acquire(model("a"), token).__enter__()
    harness.gate.set()
    loader.join()
    assert harness.loads == ["a"]


def test_a_model_in_use_is_not_evicted_with_the_idle_models():
    harness = CacheHarness(budget_bytes=100)
    harness.use("a")
    with harness.cache.acquire(model("b"), StopToken()):
        harness.cache.evict_idle()
        assert harness.cache.names() == ("b",)


def test_a_load_continues_for_other_waiters_when_its_first_waiter_is_stopped():
    harness, token = CacheHarness(budget_bytes=100), StopToken()
    harness.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: harness.cache.acquire(model("a"), token).__enter__())
        until(lambda: harness.loads == ["a"])
        second = pool.submit(harness.use, "a")
        until(lambda: harness.waiting("a") == 2)
        token.stop(StopReason.CANCEL)
        assert isinstance(first.exception(30), RenderStopped)
        harness.gate.set()
        second.result(100)
    assert harness.loads == ["a"]
    assert not harness.tokens[0].reason


def test_a_load_without_waiters_is_stopped():
    harness, token = CacheHarness(budget_bytes=100), StopToken()
    harness.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        only = pool.submit(lambda: harness.cache.acquire(model("a"), token).__enter__())
        until(lambda: harness.loads == ["a"])
        token.stop(StopReason.PREEMPT)
        assert isinstance(only.exception(30), RenderStopped)
    assert harness.tokens[0].reason is StopReason.PREEMPT
    harness.gate.set()
    harness.use("a")
    assert harness.cache.names() == ("a",)


def test_a_failed_load_fails_each_of_its_waiters():
    harness = CacheHarness(budget_bytes=100)
    harness.is_broken = True
    harness.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        uses = [pool.submit(harness.use, "a") for _ in range(5)]
        until(lambda: harness.waiting("a") == 5)
        harness.gate.set()
        errors = [use.exception(30) for use in uses]
    assert harness.loads == ["a"]
    assert all(isinstance(error, RuntimeError) for error in errors)


def test_a_model_is_idle_from_the_end_of_its_last_use():
    harness = CacheHarness(budget_bytes=None)
    harness.use("a")
    harness.now_s = 10
    harness.use("b")
    harness.now_s = 15
    assert harness.cache.evict_expired(10) == 5
    assert harness.cache.names() == ("b",)


def test_one_idle_model_can_be_excluded_from_eviction():
    harness = CacheHarness(budget_bytes=None)
    for model_id in ("a", "b", "c"):
        harness.use(model_id)
    assert harness.cache.evict_idle(keep="b") == 2
    assert (harness.cache.names(), harness.cache.memory_bytes()) == (("b",), 40)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def test_a_model_with_another_offload_mode_is_dropped_and_loaded_again():
    harness = CacheHarness(budget_bytes=None)
    for offload in ("auto", "never", "model", "model"):
        harness.use("a", offload=offload)
    assert harness.loads == ["a", "a"]
    assert harness.releases == 1


def test_a_model_in_use_keeps_its_offload_mode_until_it_is_unused():
    harness = CacheHarness(budget_bytes=None)
    with ThreadPoolExecutor(1) as pool:
        with harness.cache.acquire(model("a"), StopToken()):
            moving = pool.submit(harness.use, "a", offload="model")
            harness.use("a")
            assert harness.loads == ["a"]
        moving.result(100)
    assert harness.loads == ["a", "a"]


def test_a_wait_for_another_offload_mode_can_be_stopped():
    harness, stop = CacheHarness(budget_bytes=None), StopToken()

    def wait() -> None:
        with harness.cache.acquire(model("a", offload="model"), stop):
            raise AssertionError

    with ThreadPoolExecutor(1) as pool, harness.cache.acquire(model("a"), StopToken()):
        waiting = pool.submit(wait)
        stop.stop(StopReason.CANCEL)
        with pytest.raises(RenderStopped):
            waiting.result(100)


def test_the_epoch_changes_when_a_model_is_loaded_or_dropped():
    harness = CacheHarness(budget_bytes=None)
    epochs = [harness.cache.epoch()]
    harness.use("a")
    epochs.append(harness.cache.epoch())
    harness.use("a")
    assert harness.cache.epoch() == epochs[-1]
    harness.cache.evict_idle()
    epochs.append(harness.cache.epoch())
    assert len(set(epochs)) == 3


def test_there_is_no_epoch_during_a_load():
    harness = CacheHarness(budget_bytes=None)
    harness.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        use = pool.submit(harness.use, "a")
        until(lambda: bool(harness.loads))
        assert harness.cache.epoch() is None
        harness.gate.set()
        use.result(100)
    assert harness.cache.epoch() is not None


def preload(harness: CacheHarness, model_id: str, *, expected_bytes: int | None = 40) -> None:
    harness.cache.preload(model(model_id, expected_bytes=expected_bytes), StopToken())


def test_a_model_is_preloaded_while_another_is_in_use():
    harness = CacheHarness(budget_bytes=100)
    with harness.cache.acquire(model("a"), StopToken()):
        preload(harness, "b")
        harness.use("b")
    assert harness.loads == ["a", "b"]


@pytest.mark.parametrize("expected_bytes", [61, None])
def test_a_model_that_may_not_fit_with_the_models_in_use_is_not_preloaded(expected_bytes: int | None):
    harness = CacheHarness(budget_bytes=100)
    with harness.cache.acquire(model("a"), StopToken()):
        preload(harness, "b", expected_bytes=expected_bytes)
        assert harness.loads == ["a"]
        assert harness.fetches == ["a", "b"]
    harness.use("b")
    assert harness.loads == ["a", "b"]


def test_a_model_of_unknown_size_is_preloaded_if_no_model_is_needed_and_its_size_is_recorded():
    harness = CacheHarness(budget_bytes=100)
    preload(harness, "a", expected_bytes=None)
    harness.cache.evict_idle()
    with harness.cache.acquire(model("b"), StopToken()):
        preload(harness, "a", expected_bytes=None)
    assert harness.loads == ["a", "b", "a"]


def test_a_soft_pin_protects_against_a_preload_and_not_against_a_call():
    harness = CacheHarness(budget_bytes=100)
    with harness.cache.soft_pin("a"), harness.cache.soft_pin("b"):
        for model_id in ("a", "b", "c"):
            preload(harness, model_id)
        assert harness.cache.names() == ("a", "b")
        harness.use("c", expected_bytes=40)
        assert harness.cache.names() == ("b", "c")


def test_models_without_a_pin_are_evicted_before_pinned_models():
    harness = CacheHarness(budget_bytes=100)
    with harness.cache.soft_pin("a"):
        for model_id in ("a", "b", "c"):
            preload(harness, model_id)
    assert harness.cache.names() == ("a", "c")


def test_models_that_are_loading_count_in_the_budget():
    harness = CacheHarness(budget_bytes=100)
    harness.gate.clear()
    with ThreadPoolExecutor(2) as pool, harness.cache.soft_pin("a"):
        first = pool.submit(preload, harness, "a", expected_bytes=61)
        until(lambda: harness.loads == ["a"])
        assert harness.cache.expected_bytes() == 61
        preload(harness, "b")
        assert harness.loads == ["a"]
        harness.gate.set()
        first.result(100)
    assert harness.cache.expected_bytes() == 0


def test_no_model_is_preloaded_if_running_calls_need_the_memory():
    harness = CacheHarness(budget_bytes=100)
    harness.can_load = False
    preload(harness, "a")
    assert harness.loads == []
    harness.use("a")
    assert harness.loads == ["a"]


def test_a_call_whose_turn_comes_during_a_preload_waits_for_it():
    harness = CacheHarness(budget_bytes=100)
    harness.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(preload, harness, "a")
        until(lambda: harness.loads == ["a"])
        use = pool.submit(harness.use, "a")
        until(lambda: harness.waiting("a") == 2)
        harness.gate.set()
        ahead.result(100)
        use.result(100)
    assert harness.loads == ["a"]


def test_a_failed_preload_raises_and_a_stopped_preload_returns_at_once():
    harness, stop = CacheHarness(budget_bytes=100), StopToken()
    harness.is_broken = True
    with pytest.raises(RuntimeError, match="half a download"):
        preload(harness, "a")
    harness.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(harness.cache.preload, model("a"), stop)
        until(lambda: len(harness.loads) == 2)
        stop.stop(StopReason.CANCEL)
        assert isinstance(waiting.exception(30), RenderStopped)
        harness.gate.set()


def test_a_pinned_model_is_not_idle():
    harness = CacheHarness(budget_bytes=None)
    with harness.cache.soft_pin("a"):
        preload(harness, "a")
        harness.now_s = 50
        assert harness.cache.evict_expired(10) is None
    harness.now_s = 55
    assert harness.cache.evict_expired(10) == 5
    assert harness.cache.names() == ("a",)


def test_models_that_exceed_the_budget_together_are_evicted_after_use():
    harness = CacheHarness(budget_bytes=50)
    with harness.cache.acquire(model("a"), StopToken()):
        harness.use("b")
        assert harness.cache.names() == ("a", "b")
    assert harness.cache.names() == ("a",)
    assert harness.releases == 1


def test_offloaded_models_are_evicted_for_another_and_models_on_the_device_are_not():
    harness = CacheHarness(budget_bytes=None, host_budget_bytes=100)
    harness.use("huge")
    for model_id in ("a", "b", "a", "c"):
        harness.use(model_id, offload="model")
    assert harness.cache.names() == ("huge", "a", "c")
    assert harness.cache.host_bytes() == 80


def test_an_offloaded_model_that_is_larger_than_the_memory_for_models_is_refused_before_it_is_read():
    harness = CacheHarness(budget_bytes=None, host_budget_bytes=100)
    harness.use("a", offload="model")
    with pytest.raises(MemoryError, match="huge needs 500 of 100"):
        harness.use("huge", offload="model")
    assert harness.loads == ["a"]
    assert harness.cache.names() == ("a",)


def test_an_offloaded_model_waits_for_the_memory_of_models_in_use():
    harness = CacheHarness(budget_bytes=None, host_budget_bytes=50)
    with ThreadPoolExecutor(1) as pool:
        with harness.cache.acquire(model("a", offload="model"), StopToken()):
            waiting = pool.submit(harness.use, "b", offload="model")
            until(lambda: harness.waiting("b") == 1)
            assert harness.loads == ["a"]
        waiting.result(100)
    assert harness.cache.names() == ("b",)


def test_no_model_is_preloaded_into_memory_of_the_machine_that_others_need():
    harness = CacheHarness(budget_bytes=None, host_budget_bytes=50)
    with harness.cache.acquire(model("a", offload="model"), StopToken()):
        harness.cache.preload(model("b", offload="model"), StopToken())
        assert harness.loads == ["a"]
