"""The admission of calls to the device, with a meter whose values the test sets."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from phoenix.engine.device_scheduler import DeviceReservation, DeviceScheduler, PeakWindows
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed


class FixedMeter:
    """100 bytes, of which `allocated` are in use."""

    def __init__(self) -> None:
        self.allocated = 0

    def available_bytes(self) -> int:
        return 100 - self.allocated

    def allocated_bytes(self) -> int:
        return self.allocated

    def reset_peak(self) -> None: ...

    def release(self) -> None: ...

    def peak_bytes(self) -> int:
        return self.allocated


class FixedWeights:
    """A fixed number of bytes of weights, loaded and loading."""

    def __init__(self, loaded: int = 0, loading: int = 0) -> None:
        self.loaded, self.loading = loaded, loading

    def memory_bytes(self) -> int:
        return self.loaded

    def expected_bytes(self) -> int:
        return self.loading


def make_scheduler(meter: FixedMeter | None, weights: FixedWeights | None = None) -> DeviceScheduler:
    return DeviceScheduler(meter, weights or FixedWeights())


class Caller:
    """A thread that waits for a reservation, and has it until `leave`."""

    def __init__(self, scheduler: DeviceScheduler, estimate: Callable[[], DeviceReservation]) -> None:
        self.stop = StopToken()
        self.is_in, self._leave, self.was_stopped = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._reserve, args=(scheduler, estimate), daemon=True)
        self._thread.start()

    def _reserve(self, scheduler: DeviceScheduler, estimate: Callable[[], DeviceReservation]) -> None:
        try:
            with scheduler.reserve(estimate, self.stop, timeout_s=60):
                self.is_in.set()
                self._leave.wait(100)
        except RenderStopped:
            self.was_stopped = True

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(100)

    def is_waiting(self) -> bool:
        return not self.is_in.wait(0.05)


@contextmanager
def reserving(
    scheduler: DeviceScheduler, estimate: DeviceReservation | Callable[[], DeviceReservation]
) -> Generator[Caller]:
    caller = Caller(scheduler, estimate if callable(estimate) else lambda: estimate)
    try:
        yield caller
    finally:
        # It may still be waiting, if what it waits for is around this block.
        caller.stop.stop(StopReason.LOST)
        caller.leave()


def test_calls_whose_memory_fits_run_at_the_same_time():
    scheduler = make_scheduler(FixedMeter())
    with (
        reserving(scheduler, DeviceReservation("a", 40)) as one,
        reserving(scheduler, DeviceReservation("b", 40)) as two,
    ):
        assert one.is_in.wait(100)
        assert two.is_in.wait(100)
        assert scheduler.running_calls == 2


def test_a_call_that_does_not_fit_waits_for_the_running_call():
    scheduler = make_scheduler(FixedMeter())
    with (
        reserving(scheduler, DeviceReservation("a", 60)) as one,
        reserving(scheduler, DeviceReservation("b", 60)) as two,
    ):
        assert one.is_in.wait(100)
        assert two.is_waiting()
        one.leave()
        assert two.is_in.wait(100)


def test_memory_that_a_running_call_uses_is_not_counted_twice():
    meter = FixedMeter()
    scheduler = make_scheduler(meter, FixedWeights(loaded=10))
    with reserving(scheduler, DeviceReservation("a", 40)) as one:
        assert one.is_in.wait(100)
        meter.allocated = 50  # 10 of weights, and all 40 of its peak
        with reserving(scheduler, DeviceReservation("b", 45)) as two:
            assert two.is_in.wait(100)


def test_weights_that_are_loaded_during_a_wait_reduce_the_free_memory():
    meter, weights = FixedMeter(), FixedWeights()
    scheduler = make_scheduler(meter, weights)
    with (
        reserving(scheduler, DeviceReservation("a", 40)) as one,
        reserving(scheduler, DeviceReservation("b", 30)) as two,
    ):
        assert one.is_in.wait(100)
        assert two.is_in.wait(100)
        with reserving(scheduler, DeviceReservation("c", 27)) as three:
            assert three.is_waiting()
            meter.allocated = weights.loaded = 50
            two.leave()
            assert three.is_waiting()
            one.leave()
            assert three.is_in.wait(100)


def test_weights_that_are_loading_reduce_the_free_memory():
    meter, weights = FixedMeter(), FixedWeights(loading=50)
    scheduler = make_scheduler(meter, weights)
    with reserving(scheduler, DeviceReservation("a", 30)) as one:
        assert one.is_in.wait(100)
        with reserving(scheduler, DeviceReservation("b", 30)) as two:
            assert two.is_waiting()
            one.leave()
            assert two.is_in.wait(100)


def test_a_model_may_load_during_calls_only_if_it_fits_at_the_peak_of_each():
    weights = FixedWeights(loading=60)
    scheduler = make_scheduler(FixedMeter(), weights)
    assert scheduler.can_load()
    with reserving(scheduler, DeviceReservation("a", 40)) as one:
        assert one.is_in.wait(100)
        assert not scheduler.can_load()
        weights.loading = 55
        assert scheduler.can_load()


@pytest.mark.parametrize("reservation", [DeviceReservation("a"), DeviceReservation("a", 1, is_exclusive=True)])
def test_no_model_loads_during_a_call_that_is_measured_or_exclusive(reservation: DeviceReservation):
    scheduler = make_scheduler(FixedMeter(), FixedWeights(loading=1))
    with reserving(scheduler, reservation) as one:
        assert one.is_in.wait(100)
        assert not scheduler.can_load()


def test_a_call_with_an_unknown_peak_runs_alone():
    scheduler = make_scheduler(FixedMeter())
    assert scheduler.needs_measuring(DeviceReservation("a"))
    with reserving(scheduler, DeviceReservation("a")) as one, reserving(scheduler, DeviceReservation("b", 1)) as two:
        assert one.is_in.wait(100)
        assert two.is_waiting()


def test_a_call_larger_than_the_device_runs_alone():
    scheduler = make_scheduler(FixedMeter())
    with reserving(scheduler, DeviceReservation("a", 1000)) as one:
        assert one.is_in.wait(100)


def test_without_a_meter_only_exclusive_calls_run_alone():
    scheduler = make_scheduler(None)
    with reserving(scheduler, DeviceReservation("a")) as one, reserving(scheduler, DeviceReservation("b")) as two:
        assert one.is_in.wait(100)
        assert two.is_in.wait(100)
        with reserving(scheduler, DeviceReservation("c", is_exclusive=True)) as three:
            assert three.is_waiting()
            one.leave()
            two.leave()
            assert three.is_in.wait(100)


def test_a_model_with_a_limit_of_one_call_has_one_call_at_a_time():
    scheduler = make_scheduler(None)
    with (
        reserving(scheduler, DeviceReservation("a", max_calls_of_model=1)) as one,
        reserving(scheduler, DeviceReservation("a", max_calls_of_model=1)) as two,
    ):
        assert one.is_in.wait(100)
        assert two.is_waiting()
        one.leave()
        assert two.is_in.wait(100)


def test_an_exclusive_call_that_waits_is_not_overtaken():
    scheduler = make_scheduler(None)
    with reserving(scheduler, DeviceReservation("a")) as one:
        assert one.is_in.wait(100)
        with reserving(scheduler, DeviceReservation("b", is_exclusive=True)) as alone:
            assert alone.is_waiting()
            with reserving(scheduler, DeviceReservation("c")) as late:
                assert late.is_waiting()
                one.leave()
                assert alone.is_in.wait(100)
                alone.leave()
                assert late.is_in.wait(100)


def test_calls_that_wait_for_the_measurement_of_their_shape_then_run_at_the_same_time():
    scheduler, peaks = make_scheduler(FixedMeter()), dict[str, int]()

    def estimate() -> DeviceReservation:
        return DeviceReservation("a", peaks.get("a"))

    with (
        reserving(scheduler, estimate) as first,
        reserving(scheduler, estimate) as second,
        reserving(scheduler, estimate) as third,
    ):
        waiting = [caller for caller in (first, second, third) if caller.is_waiting()]
        assert len(waiting) == 2
        peaks["a"] = 40
        for caller in (first, second, third):
            if caller not in waiting:
                caller.leave()
        assert all(caller.is_in.wait(100) for caller in waiting)
        assert scheduler.running_calls == 2


def test_a_wait_past_the_limit_raises_timeout_and_leaves_the_queue():
    scheduler = make_scheduler(None)
    with reserving(scheduler, DeviceReservation("a", is_exclusive=True)) as one:
        assert one.is_in.wait(100)
        with pytest.raises(TaskFailed, match=r"within 0.02 s \(calls on it: 1\)") as failed:
            scheduler.reserve(lambda: DeviceReservation("b"), StopToken(), timeout_s=0.02).__enter__()
        assert (failed.value.code, failed.value.stage) == (FailureCode.TIMEOUT, Stage.QUEUE)
        assert failed.value.retriable
        with reserving(scheduler, DeviceReservation("c")) as next_one:
            one.leave()
            assert next_one.is_in.wait(100)


@pytest.mark.parametrize("reason", [StopReason.CANCEL, StopReason.LOST])
def test_a_wait_can_be_stopped_and_leaves_the_queue(reason: StopReason):
    scheduler = make_scheduler(None)
    with reserving(scheduler, DeviceReservation("a", is_exclusive=True)) as one:
        assert one.is_in.wait(100)
        with (
            reserving(scheduler, DeviceReservation("b")) as stopped,
            reserving(scheduler, DeviceReservation("c")) as next_one,
        ):
            assert stopped.is_waiting()
            stopped.stop.stop(reason)
            stopped.leave()
            assert stopped.was_stopped
            one.leave()
            assert next_one.is_in.wait(100)
    assert scheduler.running_calls == 0


class PeakMeter(FixedMeter):
    """Like the allocator of torch: `allocated` is what is in use now, and the peak is the most since the last reset."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0

    def use(self, allocated: int) -> None:
        self.allocated, self.peak = allocated, max(self.peak, allocated)

    def reset_peak(self) -> None:
        self.peak = self.allocated

    def peak_bytes(self) -> int:
        return self.peak


def test_a_call_has_the_peak_of_its_own_time() -> None:
    meter = PeakMeter()
    windows = PeakWindows(meter)
    meter.use(90)
    meter.use(10)
    with windows.measuring() as first:
        meter.use(50)
        meter.use(10)
        with windows.measuring() as second:
            meter.use(30)

            assert (first(), second()) == (50, 30)


def test_the_peak_of_a_call_covers_the_calls_that_run_at_the_same_time() -> None:
    meter = PeakMeter()
    windows = PeakWindows(meter)
    with windows.measuring() as first:
        with windows.measuring():
            meter.use(70)
        meter.use(0)

        assert first() == 70


def test_without_a_meter_no_peak_is_known() -> None:
    with PeakWindows(None).measuring() as read:
        assert read() is None
