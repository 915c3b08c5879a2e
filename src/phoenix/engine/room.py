"""Who may compute on the device now: calls beside each other as long as their memory, as learned, fits. Fair.

A call that nothing is known of runs alone, so that its own memory can be measured; after that it may have company.
"""

import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from phoenix.engine.stopping import StopToken, wait_until, woken_by

HEADROOM = 1.05
"""On what was measured: fragments between the blocks of two calls are in no measurement."""


class Meter(Protocol):
    """The memory of this process's device, as its allocator sees it."""

    def available_bytes(self) -> int:
        """What could be allocated now."""
        ...

    def allocated_bytes(self) -> int:
        """What is in use by tensors: weights and activations."""
        ...

    def begin(self) -> None:
        """From now on measures a new peak."""
        ...

    def peak_bytes(self) -> int:
        """The most that was in use at once since `begin`."""
        ...

    def release(self) -> None:
        """Gives memory that no tensor uses back to the device, for other processes and calls of other shapes."""
        ...


@dataclass(frozen=True, eq=False)
class Stay:
    """One call's wish for the device."""

    model_id: str
    needed_bytes: int | None = None
    """Beyond the weights; None: not known yet."""
    most_of_model: int | None = None
    """How many calls of this model may run at once; None: any number."""
    is_alone: bool = False


class DeviceRoom:
    """Admits calls in the order in which they asked. Without a meter memory is no reason to wait."""

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._changed = threading.Condition()
        self._waiting: deque[Stay] = deque()
        self._running: list[Stay] = []

    @property
    def running(self) -> int:
        return len(self._running)

    @contextmanager
    def hold(self, stay: Stay, weights_bytes: int, stop: StopToken) -> Generator[None]:
        """Waits for room, and holds it for the block. `weights_bytes`: of all models in memory.

        Raises `RenderStopped` when asked to stop first.
        """
        with woken_by(stop, self._changed):
            self._waiting.append(stay)
            try:
                wait_until(self._changed, lambda: self._fits(stay, weights_bytes), stop)
                self._running.append(stay)
            finally:
                self._waiting.remove(stay)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(stay)
                self._changed.notify_all()

    def must_be_measured(self, stay: Stay) -> bool:
        return self._meter is not None and stay.needed_bytes is None

    def _fits(self, stay: Stay, weights_bytes: int) -> bool:
        if self._waiting[0] is not stay:
            return False
        if not self._running:
            return True
        if any(self._wants_all(other) for other in (stay, *self._running)):
            return False
        beside = sum(other.model_id == stay.model_id for other in self._running)
        if stay.most_of_model is not None and beside >= stay.most_of_model:
            return False
        return self._meter is None or self._spare_bytes(self._meter, weights_bytes) >= (stay.needed_bytes or 0)

    def _wants_all(self, stay: Stay) -> bool:
        return stay.is_alone or self.must_be_measured(stay)

    def _spare_bytes(self, meter: Meter, weights_bytes: int) -> float:
        """What would be left if every running call stood at its peak: those that have begun hold part of theirs."""
        in_use = max(0, meter.allocated_bytes() - weights_bytes)
        peaks = sum((stay.needed_bytes or 0) * HEADROOM for stay in self._running)
        return meter.available_bytes() + in_use - peaks
