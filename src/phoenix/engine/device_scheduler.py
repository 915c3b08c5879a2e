"""Admits calls to the device, in order: side by side as long as their learned memory peaks fit together.

A call whose peak is unknown runs alone, so that it can be measured; later ones like it may share the device.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from phoenix.engine.stop_token import StopToken, lock_and_wake_on_stop, wait_until
from phoenix.errors import FailureCode, Stage, TaskFailed

PEAK_MARGIN = 1.05
"""Factor on measured peaks: they do not include fragmentation between two calls."""


class Meter(Protocol):
    """The memory of this process's device, as seen by its allocator."""

    def available_bytes(self) -> int:
        """Bytes that could be allocated now."""
        ...

    def allocated_bytes(self) -> int:
        """Bytes in use by tensors: weights and activations."""
        ...

    def reset_peak(self) -> None:
        """Starts measuring a new peak."""
        ...

    def peak_bytes(self) -> int:
        """Most bytes in use at once since `reset_peak`."""
        ...

    def release(self) -> None:
        """Returns unused memory to the device, for other processes and for calls of other shapes."""
        ...


class Weights(Protocol):
    """The models of this process on its device."""

    def memory_bytes(self) -> int:
        """Of all that are in memory."""
        ...

    def expected_bytes(self) -> int:
        """Of those on their way, as far as it is known."""
        ...


@dataclass(frozen=True, eq=False)
class DeviceReservation:
    """What one call needs of the device."""

    model_id: str
    needed_bytes: int | None = None
    """Bytes beyond the weights; None if not known yet."""
    max_calls_of_model: int | None = None
    """Most calls of this model at once; None for any number."""
    is_exclusive: bool = False


class DeviceScheduler:
    """Admits calls in the order in which they asked. Without a meter, memory never makes a call wait."""

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

        `estimate` is asked anew at each look: the call before this one may have shown what both of them take. Raises
        `TaskFailed` (TIMEOUT) past `timeout_s`, `RenderStopped` when asked to stop first.
        """
        reservation = self._admit(estimate, stop, timeout_s)
        try:
            yield reservation
        finally:
            with self._changed:
                self._running.remove(reservation)
                self._changed.notify_all()

    def needs_measuring(self, reservation: DeviceReservation) -> bool:
        return self._meter is not None and reservation.needed_bytes is None

    def can_load(self) -> bool:
        """Whether the models on their way fit beside the running calls, even when all of those stand at their peaks."""
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
        """What would be left with all models there and every running call at its peak.

        Those that have begun hold part of theirs already; so may a model on its way, which looks the same.
        """
        in_use = max(0, meter.allocated_bytes() - self._weights.memory_bytes())
        peaks = sum((reservation.needed_bytes or 0) * PEAK_MARGIN for reservation in self._running)
        return meter.available_bytes() + in_use - self._weights.expected_bytes() - peaks

    def _timeout(self, timeout_s: float) -> TaskFailed:
        detail = f"no memory on the device came free within {timeout_s:g} s (calls on it: {self.running_calls})"
        return TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.QUEUE, retriable=True)
