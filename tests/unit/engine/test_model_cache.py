"""Which models stay in memory, tried with plain objects: what a load is does not matter here."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from phoenix.catalog.model import ModelSpec, load_catalog
from phoenix.engine.backends.diffusers.model_cache import ModelCache
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken

SIZES = {"a": 40, "b": 40, "c": 40, "huge": 500}


def model(model_id: str, *, expected_bytes: int | None = None, offload: str = "auto") -> ModelSpec:
    changes = {"id": model_id, "memory_bytes": expected_bytes, "offload": offload}
    return load_catalog().get("animatic").model_copy(update=changes)


class Shelf:
    """A cache of names, counting loads and releases. A load waits for `gate`."""

    def __init__(self, budget_bytes: int | None) -> None:
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
        assert self.gate.wait(30)
        if self.is_broken:
            raise RuntimeError("half a download")
        return spec.id

    def _release(self) -> None:
        self.releases += 1


def test_a_model_is_loaded_once_and_kept():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    shelf.use("a")
    assert shelf.loads == ["a"]
    assert shelf.cache.names() == ("a",)


def test_first_requests_that_come_together_cause_one_load():
    shelf = Shelf(budget_bytes=100)
    shelf.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(shelf.use, "a") for _ in range(8)]
        shelf.gate.set()
        for use in uses:
            use.result()
    assert shelf.loads == ["a"]


def test_the_least_recently_used_model_is_evicted_for_another():
    shelf = Shelf(budget_bytes=100)
    for model_id in ("a", "b", "a", "c"):
        shelf.use(model_id)
    assert shelf.cache.names() == ("a", "c")
    assert shelf.releases == 1


def test_memory_is_freed_before_the_load_when_the_entry_says_how_much():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    shelf.use("b")
    shelf.gate.clear()
    thread = threading.Thread(target=shelf.use, args=("c",), kwargs={"expected_bytes": 40})
    thread.start()
    while "c" not in shelf.loads:
        threading.Event().wait(0.001)
    assert shelf.cache.names() == ("b",)
    shelf.gate.set()
    thread.join()


def test_a_model_in_use_is_not_evicted():
    shelf = Shelf(budget_bytes=50)
    with shelf.cache.acquire(model("a"), StopToken()):
        shelf.use("b")
        assert "a" in shelf.cache.names()
    shelf.use("c")
    assert shelf.cache.names() == ("c",)


def test_a_model_larger_than_the_budget_is_tried_alone():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    shelf.use("huge")
    assert shelf.cache.names() == ("huge",)


def test_without_a_budget_everything_stays():
    shelf = Shelf(budget_bytes=None)
    for model_id in ("a", "b", "c", "huge"):
        shelf.use(model_id)
    assert len(shelf.cache.names()) == 4


def test_a_load_that_fails_leaves_nothing_behind_and_can_be_tried_again():
    shelf = Shelf(budget_bytes=100)
    shelf.is_broken = True
    with pytest.raises(RuntimeError, match="half a download"):
        shelf.use("a")
    assert shelf.cache.names() == ()
    shelf.is_broken = False
    shelf.use("a")
    assert shelf.loads == ["a", "a"]


def test_a_clip_that_waits_for_anothers_load_can_be_stopped():
    shelf, token = Shelf(budget_bytes=100), StopToken()
    shelf.gate.clear()
    loader = threading.Thread(target=shelf.use, args=("a",))
    loader.start()
    while not shelf.loads:
        threading.Event().wait(0.001)
    threading.Timer(0.02, token.stop, (StopReason.CANCEL,)).start()
    with pytest.raises(RenderStopped):
        shelf.cache.acquire(model("a"), token).__enter__()
    shelf.gate.set()
    loader.join()
    assert shelf.loads == ["a"]


def test_evicting_idle_models_spares_the_one_in_use():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    with shelf.cache.acquire(model("b"), StopToken()):
        shelf.cache.evict_idle()
        assert shelf.cache.names() == ("b",)


def test_the_clip_that_caused_a_load_can_be_stopped_too_and_the_load_goes_on_for_the_other():
    shelf, token = Shelf(budget_bytes=100), StopToken()
    shelf.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: shelf.cache.acquire(model("a"), token).__enter__())
        until(lambda: shelf.loads == ["a"])
        second = pool.submit(shelf.use, "a")
        until(lambda: shelf.waiting("a") == 2)
        token.stop(StopReason.CANCEL)
        assert isinstance(first.exception(30), RenderStopped)
        shelf.gate.set()
        second.result(30)
    assert shelf.loads == ["a"]
    assert not shelf.tokens[0].reason


def test_a_load_that_nobody_waits_for_any_more_is_stopped():
    shelf, token = Shelf(budget_bytes=100), StopToken()
    shelf.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        only = pool.submit(lambda: shelf.cache.acquire(model("a"), token).__enter__())
        until(lambda: shelf.loads == ["a"])
        token.stop(StopReason.PREEMPT)
        assert isinstance(only.exception(30), RenderStopped)
    assert shelf.tokens[0].reason is StopReason.PREEMPT
    shelf.gate.set()
    shelf.use("a")
    assert shelf.cache.names() == ("a",)


def test_a_load_that_fails_fails_all_who_wait_for_it_once():
    shelf = Shelf(budget_bytes=100)
    shelf.is_broken = True
    shelf.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        uses = [pool.submit(shelf.use, "a") for _ in range(5)]
        until(lambda: shelf.waiting("a") == 5)
        shelf.gate.set()
        errors = [use.exception(30) for use in uses]
    assert shelf.loads == ["a"]
    assert all(isinstance(error, RuntimeError) for error in errors)


def test_a_model_is_idle_from_the_end_of_its_last_use():
    shelf = Shelf(budget_bytes=None)
    shelf.use("a")
    shelf.now_s = 10
    shelf.use("b")
    shelf.now_s = 15
    assert shelf.cache.evict_expired(10) == 5
    assert shelf.cache.names() == ("b",)


def test_one_model_can_be_kept_while_the_idle_ones_go():
    shelf = Shelf(budget_bytes=None)
    for model_id in ("a", "b", "c"):
        shelf.use(model_id)
    assert shelf.cache.evict_idle(keep="b") == 2
    assert (shelf.cache.names(), shelf.cache.memory_bytes()) == (("b",), 40)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def test_weights_that_lie_elsewhere_than_a_call_wants_them_are_given_back_and_loaded_anew():
    shelf = Shelf(budget_bytes=None)
    for offload in ("auto", "never", "model", "model"):
        shelf.use("a", offload=offload)
    assert shelf.loads == ["a", "a"]
    assert shelf.releases == 1


def test_weights_that_are_to_lie_elsewhere_stay_where_they_are_until_nobody_uses_them():
    shelf = Shelf(budget_bytes=None)
    with ThreadPoolExecutor(1) as pool:
        with shelf.cache.acquire(model("a"), StopToken()):
            moving = pool.submit(shelf.use, "a", offload="model")
            shelf.use("a")
            assert shelf.loads == ["a"]
        moving.result(30)
    assert shelf.loads == ["a", "a"]


def test_one_who_waits_for_weights_to_move_can_be_stopped():
    shelf, stop = Shelf(budget_bytes=None), StopToken()

    def wait() -> None:
        with shelf.cache.acquire(model("a", offload="model"), stop):
            raise AssertionError

    with ThreadPoolExecutor(1) as pool, shelf.cache.acquire(model("a"), StopToken()):
        waiting = pool.submit(wait)
        stop.stop(StopReason.CANCEL)
        with pytest.raises(RenderStopped):
            waiting.result(30)


def test_an_epoch_ends_whenever_a_model_comes_or_goes():
    shelf = Shelf(budget_bytes=None)
    epochs = [shelf.cache.epoch()]
    shelf.use("a")
    epochs.append(shelf.cache.epoch())
    shelf.use("a")
    assert shelf.cache.epoch() == epochs[-1]
    shelf.cache.evict_idle()
    epochs.append(shelf.cache.epoch())
    assert len(set(epochs)) == 3


def test_there_is_no_epoch_while_a_model_is_on_its_way():
    shelf = Shelf(budget_bytes=None)
    shelf.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        use = pool.submit(shelf.use, "a")
        until(lambda: bool(shelf.loads))
        assert shelf.cache.epoch() is None
        shelf.gate.set()
        use.result(30)
    assert shelf.cache.epoch() is not None


def preload(shelf: Shelf, model_id: str, *, expected_bytes: int | None = 40) -> None:
    shelf.cache.preload(model(model_id, expected_bytes=expected_bytes), StopToken())


def test_a_model_is_preloaded_beside_what_is_used():
    shelf = Shelf(budget_bytes=100)
    with shelf.cache.acquire(model("a"), StopToken()):
        preload(shelf, "b")
        shelf.use("b")
    assert shelf.loads == ["a", "b"]


@pytest.mark.parametrize("expected_bytes", [61, None])
def test_a_model_that_may_not_fit_beside_what_is_used_waits_for_its_turn(expected_bytes: int | None):
    shelf = Shelf(budget_bytes=100)
    with shelf.cache.acquire(model("a"), StopToken()):
        preload(shelf, "b", expected_bytes=expected_bytes)
        assert shelf.loads == ["a"]
        assert shelf.fetches == ["a", "b"]
    shelf.use("b")
    assert shelf.loads == ["a", "b"]


def test_a_model_of_unknown_size_is_brought_in_when_nothing_else_is_needed_and_its_size_is_kept():
    shelf = Shelf(budget_bytes=100)
    preload(shelf, "a", expected_bytes=None)
    shelf.cache.evict_idle()
    with shelf.cache.acquire(model("b"), StopToken()):
        preload(shelf, "a", expected_bytes=None)
    assert shelf.loads == ["a", "b", "a"]


def test_a_soft_pin_holds_against_a_preload_and_not_against_a_call():
    shelf = Shelf(budget_bytes=100)
    with shelf.cache.soft_pin("a"), shelf.cache.soft_pin("b"):
        for model_id in ("a", "b", "c"):
            preload(shelf, model_id)
        assert shelf.cache.names() == ("a", "b")
        shelf.use("c", expected_bytes=40)
        assert shelf.cache.names() == ("b", "c")


def test_what_nobody_wants_goes_before_what_somebody_does():
    shelf = Shelf(budget_bytes=100)
    with shelf.cache.soft_pin("a"):
        for model_id in ("a", "b", "c"):
            preload(shelf, model_id)
    assert shelf.cache.names() == ("a", "c")


def test_models_on_their_way_count_before_they_are_there():
    shelf = Shelf(budget_bytes=100)
    shelf.gate.clear()
    with ThreadPoolExecutor(2) as pool, shelf.cache.soft_pin("a"):
        first = pool.submit(preload, shelf, "a", expected_bytes=61)
        until(lambda: shelf.loads == ["a"])
        assert shelf.cache.expected_bytes() == 61
        preload(shelf, "b")
        assert shelf.loads == ["a"]
        shelf.gate.set()
        first.result(30)
    assert shelf.cache.expected_bytes() == 0


def test_nothing_is_preloaded_beside_calls_that_will_need_the_memory():
    shelf = Shelf(budget_bytes=100)
    shelf.can_load = False
    preload(shelf, "a")
    assert shelf.loads == []
    shelf.use("a")
    assert shelf.loads == ["a"]


def test_a_turn_that_comes_during_a_load_ahead_of_it_waits_for_that_load():
    shelf = Shelf(budget_bytes=100)
    shelf.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(preload, shelf, "a")
        until(lambda: shelf.loads == ["a"])
        use = pool.submit(shelf.use, "a")
        until(lambda: shelf.waiting("a") == 2)
        shelf.gate.set()
        ahead.result(30)
        use.result(30)
    assert shelf.loads == ["a"]


def test_a_load_ahead_that_fails_says_so_and_one_that_is_stopped_leaves_at_once():
    shelf, stop = Shelf(budget_bytes=100), StopToken()
    shelf.is_broken = True
    with pytest.raises(RuntimeError, match="half a download"):
        preload(shelf, "a")
    shelf.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shelf.cache.preload, model("a"), stop)
        until(lambda: len(shelf.loads) == 2)
        stop.stop(StopReason.CANCEL)
        assert isinstance(waiting.exception(30), RenderStopped)
        shelf.gate.set()


def test_a_wanted_model_is_not_idle():
    shelf = Shelf(budget_bytes=None)
    with shelf.cache.soft_pin("a"):
        preload(shelf, "a")
        shelf.now_s = 50
        assert shelf.cache.evict_expired(10) is None
    shelf.now_s = 55
    assert shelf.cache.evict_expired(10) == 5
    assert shelf.cache.names() == ("a",)


def test_models_that_were_used_beside_each_other_past_the_budget_do_not_stay_beside_each_other():
    shelf = Shelf(budget_bytes=50)
    with shelf.cache.acquire(model("a"), StopToken()):
        shelf.use("b")
        assert shelf.cache.names() == ("a", "b")
    assert shelf.cache.names() == ("a",)
    assert shelf.releases == 1
