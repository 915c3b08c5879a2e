"""Who may compute on the device, tried with a meter that says what the test says."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from phoenix.engine.cancellation import RenderStopped, StopReason, StopToken
from phoenix.engine.device_memory import DeviceRoom, Stay
from phoenix.errors import FailureCode, Stage, TaskFailed


class Scale:
    """100 bytes, of which `allocated` are in use."""

    def __init__(self) -> None:
        self.allocated = 0

    def available_bytes(self) -> int:
        return 100 - self.allocated

    def allocated_bytes(self) -> int:
        return self.allocated

    def begin(self) -> None: ...

    def release(self) -> None: ...

    def peak_bytes(self) -> int:
        return self.allocated


class Shelf:
    """So many bytes of weights, in memory and on their way."""

    def __init__(self, weights: int = 0, coming: int = 0) -> None:
        self.weights, self.coming = weights, coming

    def memory_bytes(self) -> int:
        return self.weights

    def expected_bytes(self) -> int:
        return self.coming


def a_room(meter: Scale | None, shelf: Shelf | None = None) -> DeviceRoom:
    return DeviceRoom(meter, shelf or Shelf())


class Guest:
    """A thread with a stay: in the room until it leaves."""

    def __init__(self, room: DeviceRoom, wish: Callable[[], Stay]) -> None:
        self.stop = StopToken()
        self.is_in, self._leave, self.was_stopped = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._visit, args=(room, wish), daemon=True)
        self._thread.start()

    def _visit(self, room: DeviceRoom, wish: Callable[[], Stay]) -> None:
        try:
            with room.hold(wish, self.stop, timeout_s=60):
                self.is_in.set()
                self._leave.wait(30)
        except RenderStopped:
            self.was_stopped = True

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(30)

    def is_kept_waiting(self) -> bool:
        return not self.is_in.wait(0.05)


@contextmanager
def visiting(room: DeviceRoom, wish: Stay | Callable[[], Stay]) -> Generator[Guest]:
    guest = Guest(room, wish if callable(wish) else lambda: wish)
    try:
        yield guest
    finally:
        # It may still be waiting, if what it waits for is around this block.
        guest.stop.stop(StopReason.LOST)
        guest.leave()


def test_calls_whose_memory_fits_run_beside_each_other():
    room = a_room(Scale())
    with visiting(room, Stay("a", 40)) as one, visiting(room, Stay("b", 40)) as two:
        assert one.is_in.wait(30)
        assert two.is_in.wait(30)
        assert room.running == 2


def test_a_call_that_would_not_fit_waits_for_the_one_before_it():
    room = a_room(Scale())
    with visiting(room, Stay("a", 60)) as one, visiting(room, Stay("b", 60)) as two:
        assert one.is_in.wait(30)
        assert two.is_kept_waiting()
        one.leave()
        assert two.is_in.wait(30)


def test_what_a_running_call_has_taken_of_its_peak_is_not_counted_twice():
    scale = Scale()
    room = a_room(scale, Shelf(weights=10))
    with visiting(room, Stay("a", 40)) as one:
        assert one.is_in.wait(30)
        scale.allocated = 50  # 10 of weights, and all 40 of its peak
        with visiting(room, Stay("b", 45)) as two:
            assert two.is_in.wait(30)


def test_weights_that_come_while_a_call_waits_leave_it_less_room():
    scale, shelf = Scale(), Shelf()
    room = a_room(scale, shelf)
    with visiting(room, Stay("a", 40)) as one, visiting(room, Stay("b", 30)) as two:
        assert one.is_in.wait(30)
        assert two.is_in.wait(30)
        with visiting(room, Stay("c", 27)) as three:
            assert three.is_kept_waiting()
            scale.allocated = shelf.weights = 50
            two.leave()
            assert three.is_kept_waiting()
            one.leave()
            assert three.is_in.wait(30)


def test_weights_on_their_way_leave_less_room_before_they_are_there():
    scale, shelf = Scale(), Shelf(coming=50)
    room = a_room(scale, shelf)
    with visiting(room, Stay("a", 30)) as one:
        assert one.is_in.wait(30)
        with visiting(room, Stay("b", 30)) as two:
            assert two.is_kept_waiting()
            one.leave()
            assert two.is_in.wait(30)


def test_a_model_may_come_beside_calls_only_if_it_fits_at_the_peak_of_each():
    shelf = Shelf(coming=60)
    room = a_room(Scale(), shelf)
    assert room.is_roomy()
    with visiting(room, Stay("a", 40)) as one:
        assert one.is_in.wait(30)
        assert not room.is_roomy()
        shelf.coming = 55
        assert room.is_roomy()


@pytest.mark.parametrize("stay", [Stay("a"), Stay("a", 1, is_alone=True)])
def test_no_model_comes_beside_a_call_that_is_measured_or_short_of_memory(stay: Stay):
    room = a_room(Scale(), Shelf(coming=1))
    with visiting(room, stay) as one:
        assert one.is_in.wait(30)
        assert not room.is_roomy()


def test_a_call_of_unknown_memory_runs_alone_so_that_it_can_be_measured():
    room = a_room(Scale())
    assert room.must_be_measured(Stay("a"))
    with visiting(room, Stay("a")) as one, visiting(room, Stay("b", 1)) as two:
        assert one.is_in.wait(30)
        assert two.is_kept_waiting()


def test_a_call_larger_than_the_device_is_tried_alone():
    room = a_room(Scale())
    with visiting(room, Stay("a", 1000)) as one:
        assert one.is_in.wait(30)


def test_without_a_meter_only_what_asks_to_be_alone_is():
    room = a_room(None)
    with visiting(room, Stay("a")) as one, visiting(room, Stay("b")) as two:
        assert one.is_in.wait(30)
        assert two.is_in.wait(30)
        with visiting(room, Stay("c", is_alone=True)) as three:
            assert three.is_kept_waiting()
            one.leave()
            two.leave()
            assert three.is_in.wait(30)


def test_a_model_whose_calls_share_state_has_one_at_a_time():
    room = a_room(None)
    with visiting(room, Stay("a", most_of_model=1)) as one, visiting(room, Stay("a", most_of_model=1)) as two:
        assert one.is_in.wait(30)
        assert two.is_kept_waiting()
        one.leave()
        assert two.is_in.wait(30)


def test_one_that_waits_to_be_alone_is_not_overtaken_for_ever():
    room = a_room(None)
    with visiting(room, Stay("a")) as one:
        assert one.is_in.wait(30)
        with visiting(room, Stay("b", is_alone=True)) as alone:
            assert alone.is_kept_waiting()
            with visiting(room, Stay("c")) as late:
                assert late.is_kept_waiting()
                one.leave()
                assert alone.is_in.wait(30)
                alone.leave()
                assert late.is_in.wait(30)


def test_calls_that_wait_for_the_first_of_their_shape_to_be_measured_then_run_beside_each_other():
    room, peaks = a_room(Scale()), dict[str, int]()

    def wish() -> Stay:
        return Stay("a", peaks.get("a"))

    with visiting(room, wish) as first, visiting(room, wish) as second, visiting(room, wish) as third:
        waiting = [guest for guest in (first, second, third) if guest.is_kept_waiting()]
        assert len(waiting) == 2
        peaks["a"] = 40
        for guest in (first, second, third):
            if guest not in waiting:
                guest.leave()
        assert all(guest.is_in.wait(30) for guest in waiting)
        assert room.running == 2


def test_a_wait_past_the_limit_ends_in_timeout_and_leaves_the_queue():
    room = a_room(None)
    with visiting(room, Stay("a", is_alone=True)) as one:
        assert one.is_in.wait(30)
        with pytest.raises(TaskFailed, match=r"within 0.02 s \(calls on it: 1\)") as failed:
            room.hold(lambda: Stay("b"), StopToken(), timeout_s=0.02).__enter__()
        assert (failed.value.code, failed.value.stage) == (FailureCode.TIMEOUT, Stage.QUEUE)
        assert failed.value.retriable
        with visiting(room, Stay("c")) as next_one:
            one.leave()
            assert next_one.is_in.wait(30)


@pytest.mark.parametrize("reason", [StopReason.CANCEL, StopReason.LOST])
def test_one_that_waits_can_be_stopped_and_leaves_the_queue(reason: StopReason):
    room = a_room(None)
    with visiting(room, Stay("a", is_alone=True)) as one:
        assert one.is_in.wait(30)
        with visiting(room, Stay("b")) as stopped, visiting(room, Stay("c")) as next_one:
            assert stopped.is_kept_waiting()
            stopped.stop.stop(reason)
            stopped.leave()
            assert stopped.was_stopped
            one.leave()
            assert next_one.is_in.wait(30)
    assert room.running == 0
