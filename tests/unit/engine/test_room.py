"""Who may compute on the device, tried with a meter that says what the test says."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from phoenix.engine.room import DeviceRoom, Stay
from phoenix.engine.stopping import RenderStopped, StopReason, StopToken


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


class Guest:
    """A thread with a stay: in the room until it leaves."""

    def __init__(self, room: DeviceRoom, stay: Stay, weights_bytes: int = 0) -> None:
        self.stop = StopToken()
        self.is_in, self._leave, self.was_stopped = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._visit, args=(room, stay, weights_bytes), daemon=True)
        self._thread.start()

    def _visit(self, room: DeviceRoom, stay: Stay, weights_bytes: int) -> None:
        try:
            with room.hold(stay, weights_bytes, self.stop):
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
def visiting(room: DeviceRoom, stay: Stay, weights_bytes: int = 0) -> Generator[Guest]:
    guest = Guest(room, stay, weights_bytes)
    try:
        yield guest
    finally:
        # It may still be waiting, if what it waits for is around this block.
        guest.stop.stop(StopReason.LOST)
        guest.leave()


def test_calls_whose_memory_fits_run_beside_each_other():
    room = DeviceRoom(Scale())
    with visiting(room, Stay("a", 40)) as one, visiting(room, Stay("b", 40)) as two:
        assert one.is_in.wait(30)
        assert two.is_in.wait(30)
        assert room.running == 2


def test_a_call_that_would_not_fit_waits_for_the_one_before_it():
    room = DeviceRoom(Scale())
    with visiting(room, Stay("a", 60)) as one, visiting(room, Stay("b", 60)) as two:
        assert one.is_in.wait(30)
        assert two.is_kept_waiting()
        one.leave()
        assert two.is_in.wait(30)


def test_what_a_running_call_has_taken_of_its_peak_is_not_counted_twice():
    scale = Scale()
    room = DeviceRoom(scale)
    with visiting(room, Stay("a", 40), weights_bytes=10) as one:
        assert one.is_in.wait(30)
        scale.allocated = 50  # 10 of weights, and all 40 of its peak
        with visiting(room, Stay("b", 45), weights_bytes=10) as two:
            assert two.is_in.wait(30)


def test_a_call_of_unknown_memory_runs_alone_so_that_it_can_be_measured():
    room = DeviceRoom(Scale())
    assert room.must_be_measured(Stay("a"))
    with visiting(room, Stay("a")) as one, visiting(room, Stay("b", 1)) as two:
        assert one.is_in.wait(30)
        assert two.is_kept_waiting()


def test_a_call_larger_than_the_device_is_tried_alone():
    room = DeviceRoom(Scale())
    with visiting(room, Stay("a", 1000)) as one:
        assert one.is_in.wait(30)


def test_without_a_meter_only_what_asks_to_be_alone_is():
    room = DeviceRoom(None)
    with visiting(room, Stay("a")) as one, visiting(room, Stay("b")) as two:
        assert one.is_in.wait(30)
        assert two.is_in.wait(30)
        with visiting(room, Stay("c", is_alone=True)) as three:
            assert three.is_kept_waiting()
            one.leave()
            two.leave()
            assert three.is_in.wait(30)


def test_a_model_whose_calls_share_state_has_one_at_a_time():
    room = DeviceRoom(None)
    with visiting(room, Stay("a", most_of_model=1)) as one, visiting(room, Stay("a", most_of_model=1)) as two:
        assert one.is_in.wait(30)
        assert two.is_kept_waiting()
        one.leave()
        assert two.is_in.wait(30)


def test_one_that_waits_to_be_alone_is_not_overtaken_for_ever():
    room = DeviceRoom(None)
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


@pytest.mark.parametrize("reason", [StopReason.CANCEL, StopReason.LOST])
def test_one_that_waits_can_be_stopped_and_leaves_the_queue(reason: StopReason):
    room = DeviceRoom(None)
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
