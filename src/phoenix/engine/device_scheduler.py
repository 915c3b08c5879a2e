"""Admits calls to the device in order. Calls run at the same time as long as their learned memory peaks fit together.

A call with an unknown peak runs alone, so that the peak can be measured. Later calls of that shape share the device.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from phoenix.clock import in_seconds
from phoenix.engine.stop_token import StopToken, lock_and_wake_on_stop, wait_until
from phoenix.errors import FailureCode, Stage, TaskFailed

PEAK_MARGIN = 1.05
"""Factor on measured peaks, which do not include the fragmentation between two calls."""


class Meter(Protocol):
    """The memory of the device, as the allocator of this process sees it."""

    def available_bytes(self) -> int:
        """Returns the bytes that can be allocated now."""
        ...

    def allocated_bytes(self) -> int:
        """Returns the bytes that tensors use: weights and activations."""
        ...

    def reset_peak(self) -> None:
        """Starts to measure a new peak."""
        ...

    def peak_bytes(self) -> int:
        """Returns the largest number of bytes in use at a time since `reset_peak`."""
        ...

    def release(self) -> None:
        """Returns unused memory to the device, for other processes and for calls of other shapes."""
        ...


class Weights(Protocol):
    """The models of this process on its device."""

    def memory_bytes(self) -> int:
        """Returns the bytes of all models in memory."""
        ...

    def expected_bytes(self) -> int:
        """Returns the expected bytes of the models that are loading; 0 for a model of unknown size."""
        ...


@dataclass(frozen=True, eq=False)
class DeviceReservation:
    """The part of the device that one call needs."""

    model_id: str
    needed_bytes: int | None = None
    """Bytes in addition to the weights; None if unknown."""
    max_calls_of_model: int | None = None
    """Limit on the calls of this model at a time; None for no limit."""
    is_exclusive: bool = False


class PeakWindows:
    """Measures the memory peak of each call. Calls that run at the same time share the one counter of the allocator.

    The peak of a call includes the weights, and the memory of the calls that run at the same time. Thread-safe.
    """

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._peaks: dict[object, int] = {}

    @contextmanager
    def measuring(self) -> Generator[Callable[[], int | None]]:
        """Yields a function that returns the peak since the start of the block, in bytes; None without a meter."""
        meter, window = self._meter, object()
        if meter is None:
            yield _no_peak
            return
        with self._lock:
            peak_bytes = meter.peak_bytes()
            self._peaks = {other: max(known, peak_bytes) for other, known in self._peaks.items()} | {window: 0}
            meter.reset_peak()

        def read() -> int:
            with self._lock:
                return max(self._peaks.get(window, 0), meter.peak_bytes())

        try:
            yield read
        finally:
            with self._lock:
                self._peaks.pop(window, None)


def _no_peak() -> None:
    return None


class DeviceScheduler:
    """Admits calls first come, first served. Without a meter, calls do not wait for memory."""

    def __init__(self, meter: Meter | None, weights: Weights) -> None:
        self._meter = meter
        self._weights = weights
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._running: list[DeviceReservation] = []

    @property
    def running_calls(self) -> int:
        return len(self._running)

    @contextmanager
    def reserve(
        self, estimate: Callable[[], DeviceReservation], stop: StopToken, *, timeout_s: float
    ) -> Generator[DeviceReservation]:
        """Waits for memory, and reserves it for the block. Yields the reservation.

        `estimate` is called again before each check, because an earlier call may have measured the peak meanwhile.
        Raises `TaskFailed` (TIMEOUT) after `timeout_s`, or `RenderStopped` when asked to stop first.
        """
        reservation = self._admit(estimate, stop, timeout_s)
        try:
            yield reservation
        finally:
            with self._changed:
                self._running.remove(reservation)
                self._changed.notify_all()

    def needs_measuring(self, reservation: DeviceReservation) -> bool:
        """Returns whether the memory peak of this call is unknown and can be measured."""
        return self._meter is not None and reservation.needed_bytes is None

    def can_load(self) -> bool:
        """Returns whether the models that are loading fit in memory while all running calls are at their peaks."""
        with self._changed:
            if self._meter is None or not self._running:
                return True
            is_known = not any(self._needs_whole_device(reservation) for reservation in self._running)
            return is_known and self._spare_bytes(self._meter) >= 0

    def _admit(self, estimate: Callable[[], DeviceReservation], stop: StopToken, timeout_s: float) -> DeviceReservation:
        ticket, reservation = object(), estimate()

        def is_granted() -> bool:
            nonlocal reservation
            reservation = estimate()
            return self._waiting[0] is ticket and self._fits(reservation)

        with lock_and_wake_on_stop(stop, self._changed):
            self._waiting.append(ticket)
            try:
                if not wait_until(self._changed, is_granted, stop, timeout_s=timeout_s):
                    raise self._timeout(timeout_s)
                self._running.append(reservation)
                return reservation
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _fits(self, reservation: DeviceReservation) -> bool:
        if not self._running:
            return True
        if any(self._needs_whole_device(other) for other in (reservation, *self._running)):
            return False
        same_model = sum(other.model_id == reservation.model_id for other in self._running)
        if reservation.max_calls_of_model is not None and same_model >= reservation.max_calls_of_model:
            return False
        return self._meter is None or self._spare_bytes(self._meter) >= (reservation.needed_bytes or 0)

    def _needs_whole_device(self, reservation: DeviceReservation) -> bool:
        return reservation.is_exclusive or self.needs_measuring(reservation)

    def _spare_bytes(self, meter: Meter) -> float:
        """Returns the free bytes for the case that all models are loaded and all running calls are at their peaks.

        Running calls already use a part of their peaks, which is added back. A model that is loading may already use
        a part of its memory too; the meter cannot see the difference.
        """
        in_use = max(0, meter.allocated_bytes() - self._weights.memory_bytes())
        peaks = sum((reservation.needed_bytes or 0) * PEAK_MARGIN for reservation in self._running)
        return meter.available_bytes() + in_use - self._weights.expected_bytes() - peaks

    def _timeout(self, timeout_s: float) -> TaskFailed:
        detail = f"no memory on the device was free within {in_seconds(timeout_s)} (calls on it: {self.running_calls})"
        return TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.QUEUE, retriable=True)
