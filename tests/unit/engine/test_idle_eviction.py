"""When idle models are dropped, with a clock and a timer that the test controls."""

from collections.abc import Callable

import pytest

from fixtures.claims import ManualClock
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.backends.diffusers.idle_eviction import IdleEvictor
from phoenix.engine.backends.diffusers.model_cache import ModelCache
from phoenix.engine.stop_token import StopToken

LIMIT_S = 100.0


class HandFiredTimer:
    """A timer that fires when the test sets the clock past it."""

    def __init__(self, due_s: float, fire: Callable[[], None]) -> None:
        self.due_s, self.fire, self.daemon, self.is_set = due_s, fire, False, False

    def start(self) -> None:
        self.is_set = True

    def cancel(self) -> None:
        self.is_set = False


class IdleModels:
    """A cache of models that load at once, and its idle evictor."""

    def __init__(self, limit_s: float | None = LIMIT_S) -> None:
        self.clock = ManualClock(0)
        self.timers: list[HandFiredTimer] = []
        self.cache = ModelCache(
            load=lambda model, _: model.id,
            measure=lambda _: 1,
            release=lambda: None,
            budget_bytes=None,
            clock=self.clock,
        )
        self.evictor = IdleEvictor(self.cache.evict_expired, limit_s, make_timer=self._make_timer)

    def _make_timer(self, in_s: float, fire: Callable[[], None]) -> HandFiredTimer:
        self.timers.append(HandFiredTimer(self.clock() + in_s, fire))
        return self.timers[-1]

    def use(self, model_id: str, *, for_s: float = 0) -> None:
        model = load_catalog().get("animatic").model_copy(update={"id": model_id})
        with self.evictor.evict_after(), self.cache.acquire(model, StopToken()):
            self.turn(for_s)

    def turn(self, seconds: float) -> None:
        """A second at a time."""
        for _ in range(round(seconds)):
            self.clock.now_s += 1
            for timer in [timer for timer in self.timers if timer.is_set and timer.due_s <= self.clock()]:
                timer.cancel()
                timer.fire()


def test_an_idle_model_is_dropped_at_the_limit_and_no_timer_runs_then():
    models = IdleModels()
    models.use("a")
    models.turn(LIMIT_S - 1)
    assert models.cache.names() == ("a",)
    models.turn(1)
    assert models.cache.names() == ()
    assert not any(timer.is_set for timer in models.timers)


def test_an_idle_model_is_dropped_while_another_is_used_again_and_again():
    models = IdleModels()
    models.use("a")
    for _ in range(int(LIMIT_S) // 10):
        models.use("b", for_s=10)
    assert models.cache.names() == ("b",)


def test_an_idle_model_is_dropped_during_a_long_use_of_another():
    models = IdleModels()
    models.use("a")
    models.use("b")
    with models.evictor.evict_after(), models.cache.acquire(load_catalog().get("animatic"), StopToken()):
        models.turn(LIMIT_S)
        assert models.cache.names() == ("animatic",)


def test_each_use_restarts_the_idle_time():
    models = IdleModels()
    models.use("a")
    models.turn(LIMIT_S - 1)
    models.use("a")
    models.turn(LIMIT_S - 1)
    assert models.cache.names() == ("a",)


@pytest.mark.parametrize("limit_s", [None, LIMIT_S])
def test_no_timer_runs_without_a_limit_or_after_close(limit_s: float | None):
    models = IdleModels(limit_s)
    models.use("a")
    models.evictor.close()
    models.use("a")
    assert not any(timer.is_set for timer in models.timers)
    assert models.cache.names() == ("a",)
