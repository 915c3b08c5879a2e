"""Which models stay in memory, tried with plain objects: what a load is does not matter here."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from phoenix.catalog.load import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.residency import Residency
from phoenix.engine.stopping import RenderStopped, StopReason, StopToken

SIZES = {"a": 40, "b": 40, "c": 40, "huge": 500}


def model(model_id: str, *, expected_bytes: int | None = None) -> ModelSpec:
    return load_catalog().get("animatic").model_copy(update={"id": model_id, "memory_bytes": expected_bytes})


class Shelf:
    """A residency over names, counting loads and releases. A load waits for `gate`."""

    def __init__(self, budget_bytes: int | None) -> None:
        self.loads: list[str] = []
        self.tokens: list[StopToken] = []
        self.now_s = 0.0
        self.releases = 0
        self.gate = threading.Event()
        self.gate.set()
        self.is_broken = False
        self.residency = Residency(
            load=self._load,
            measure=SIZES.__getitem__,
            release=self._release,
            budget_bytes=budget_bytes,
            clock=lambda: self.now_s,
        )

    def waiting(self, model_id: str) -> int:
        return self.residency._loads[model_id].waiting

    def use(self, model_id: str, **changes: int) -> None:
        with self.residency.hold(model(model_id, **changes), StopToken()) as loaded:
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
    assert shelf.residency.names() == ("a",)


def test_first_requests_that_come_together_cause_one_load():
    shelf = Shelf(budget_bytes=100)
    shelf.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(shelf.use, "a") for _ in range(8)]
        shelf.gate.set()
        for use in uses:
            use.result()
    assert shelf.loads == ["a"]


def test_the_least_recently_used_model_makes_room():
    shelf = Shelf(budget_bytes=100)
    for model_id in ("a", "b", "a", "c"):
        shelf.use(model_id)
    assert shelf.residency.names() == ("a", "c")
    assert shelf.releases == 1


def test_room_is_made_before_the_load_when_the_entry_says_how_much():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    shelf.use("b")
    shelf.gate.clear()
    thread = threading.Thread(target=shelf.use, args=("c",), kwargs={"expected_bytes": 40})
    thread.start()
    while "c" not in shelf.loads:
        threading.Event().wait(0.001)
    assert shelf.residency.names() == ("b",)
    shelf.gate.set()
    thread.join()


def test_a_model_in_use_is_not_evicted():
    shelf = Shelf(budget_bytes=50)
    with shelf.residency.hold(model("a"), StopToken()):
        shelf.use("b")
        assert "a" in shelf.residency.names()
    shelf.use("c")
    assert shelf.residency.names() == ("c",)


def test_a_model_larger_than_the_budget_is_tried_alone():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    shelf.use("huge")
    assert shelf.residency.names() == ("huge",)


def test_without_a_budget_everything_stays():
    shelf = Shelf(budget_bytes=None)
    for model_id in ("a", "b", "c", "huge"):
        shelf.use(model_id)
    assert len(shelf.residency.names()) == 4


def test_a_load_that_fails_leaves_nothing_behind_and_can_be_tried_again():
    shelf = Shelf(budget_bytes=100)
    shelf.is_broken = True
    with pytest.raises(RuntimeError, match="half a download"):
        shelf.use("a")
    assert shelf.residency.names() == ()
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
        shelf.residency.hold(model("a"), token).__enter__()
    shelf.gate.set()
    loader.join()
    assert shelf.loads == ["a"]


def test_evicting_idle_models_spares_the_one_in_use():
    shelf = Shelf(budget_bytes=100)
    shelf.use("a")
    with shelf.residency.hold(model("b"), StopToken()):
        shelf.residency.evict_idle()
        assert shelf.residency.names() == ("b",)


def test_the_clip_that_caused_a_load_can_be_stopped_too_and_the_load_goes_on_for_the_other():
    shelf, token = Shelf(budget_bytes=100), StopToken()
    shelf.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: shelf.residency.hold(model("a"), token).__enter__())
        until(lambda: shelf.loads == ["a"])
        second = pool.submit(shelf.use, "a")
        until(lambda: shelf.waiting("a") == 2)
        token.stop(StopReason.CANCEL)
        assert isinstance(first.exception(30), RenderStopped)
        shelf.gate.set()
        second.result(30)
    assert shelf.loads == ["a"]
    assert not shelf.tokens[0].reason


def test_a_load_that_nobody_waits_for_any_more_is_told_to_stop():
    shelf, token = Shelf(budget_bytes=100), StopToken()
    shelf.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        only = pool.submit(lambda: shelf.residency.hold(model("a"), token).__enter__())
        until(lambda: shelf.loads == ["a"])
        token.stop(StopReason.PREEMPT)
        assert isinstance(only.exception(30), RenderStopped)
    assert shelf.tokens[0].reason is StopReason.PREEMPT
    shelf.gate.set()
    shelf.use("a")
    assert shelf.residency.names() == ("a",)


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
    assert shelf.residency.evict_idle(for_s=10) == 1
    assert shelf.residency.names() == ("b",)


def test_one_model_can_be_kept_while_the_idle_ones_go():
    shelf = Shelf(budget_bytes=None)
    for model_id in ("a", "b", "c"):
        shelf.use(model_id)
    assert shelf.residency.evict_idle(keep="b") == 2
    assert (shelf.residency.names(), shelf.residency.memory_bytes()) == (("b",), 40)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")
