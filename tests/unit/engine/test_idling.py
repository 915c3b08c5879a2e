"""When models that nobody uses are dropped, with a clock that the test turns and an alarm that it lets ring."""

from collections.abc import Callable

import pytest

from fixtures.claims import HandTurnedClock
from phoenix.catalog.load import load_catalog
from phoenix.engine.backends.diffusers.idle_eviction import IdleWatch
from phoenix.engine.backends.diffusers.model_cache import Residency
from phoenix.engine.cancellation import StopToken

LIMIT_S = 100.0


class Bell:
    """An alarm that rings when the clock is turned past it."""

    def __init__(self, due_s: float, ring: Callable[[], None]) -> None:
        self.due_s, self.ring, self.daemon, self.is_set = due_s, ring, False, False

    def start(self) -> None:
        self.is_set = True

    def cancel(self) -> None:
        self.is_set = False


class House:
    """Models that come at once, watched for being idle."""

    def __init__(self, limit_s: float | None = LIMIT_S) -> None:
        self.clock = HandTurnedClock(0)
        self.bells: list[Bell] = []
        self.residency = Residency(
            load=lambda model, _: model.id,
            measure=lambda _: 1,
            release=lambda: None,
            budget_bytes=None,
            clock=self.clock,
        )
        self.watch = IdleWatch(self.residency.evict_expired, limit_s, set_alarm=self._set)

    def _set(self, in_s: float, ring: Callable[[], None]) -> Bell:
        self.bells.append(Bell(self.clock() + in_s, ring))
        return self.bells[-1]

    def use(self, model_id: str, *, for_s: float = 0) -> None:
        model = load_catalog().get("animatic").model_copy(update={"id": model_id})
        with self.watch.after(), self.residency.hold(model, StopToken()):
            self.turn(for_s)

    def turn(self, seconds: float) -> None:
        """A second at a time."""
        for _ in range(round(seconds)):
            self.clock.now_s += 1
            for bell in [bell for bell in self.bells if bell.is_set and bell.due_s <= self.clock()]:
                bell.cancel()
                bell.ring()


def test_a_model_goes_when_it_was_idle_for_so_long_and_nothing_is_waited_for_then():
    house = House()
    house.use("a")
    house.turn(LIMIT_S - 1)
    assert house.residency.names() == ("a",)
    house.turn(1)
    assert house.residency.names() == ()
    assert not any(bell.is_set for bell in house.bells)


def test_a_model_goes_though_another_is_used_all_the_time():
    house = House()
    house.use("a")
    for _ in range(int(LIMIT_S) // 10):
        house.use("b", for_s=10)
    assert house.residency.names() == ("b",)


def test_a_model_goes_in_the_middle_of_a_long_use_of_another():
    house = House()
    house.use("a")
    house.use("b")
    with house.watch.after(), house.residency.hold(load_catalog().get("animatic"), StopToken()):
        house.turn(LIMIT_S)
        assert house.residency.names() == ("animatic",)


def test_each_use_begins_the_wait_anew():
    house = House()
    house.use("a")
    house.turn(LIMIT_S - 1)
    house.use("a")
    house.turn(LIMIT_S - 1)
    assert house.residency.names() == ("a",)


@pytest.mark.parametrize("limit_s", [None, LIMIT_S])
def test_nothing_is_waited_for_without_a_limit_or_after_the_end(limit_s: float | None):
    house = House(limit_s)
    house.use("a")
    house.watch.close()
    house.use("a")
    assert not any(bell.is_set for bell in house.bells)
    assert house.residency.names() == ("a",)
