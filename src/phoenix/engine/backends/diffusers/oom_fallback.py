"""What to try after a call ran out of memory: the device to itself, then weights that come and go. No I/O."""

import threading
import time
from collections.abc import Callable
from enum import IntEnum

from phoenix.catalog.model import ModelSpec, Offload

RETURN_AFTER_S = 1800.0
"""By then what was short may be there again: the shortage may have been one large clip's, or another process's. If it
is not, the model pays a failed attempt and two loads, in half an hour a few percent."""


class Rung(IntEnum):
    """How a call is run. Decoding has a ladder of its own within each rung: see `decoding`."""

    BESIDE = 0
    """Beside other calls and models, as long as their memory is known to fit."""
    ALONE = 1
    """No other call runs, and no other model is in memory."""
    OFFLOADED = 2
    """And of the weights only those of the component at work are on the device: slow, but it fits."""
    GROUPED = 3
    """And only those of the layers at work: slower still, and the least that can be."""


_OFFLOADS: dict[Rung, Offload] = {Rung.OFFLOADED: "model", Rung.GROUPED: "group"}


def next_rung(rung: Rung, model: ModelSpec, *, had_company: bool) -> Rung | None:
    """The rung to try next; None if none is left. Running alone only helps a call that `had_company`."""
    if rung is Rung.BESIDE and had_company:
        return Rung.ALONE
    if model.offload != "auto" or rung is Rung.GROUPED:
        return None
    return Rung.GROUPED if rung is Rung.OFFLOADED else Rung.OFFLOADED


def on_rung(model: ModelSpec, rung: Rung) -> ModelSpec:
    """The model as it is loaded on this rung."""
    offload = _OFFLOADS.get(rung)
    return model if offload is None else model.model_copy(update={"offload": offload})


class Climbs:
    """Which models are offloaded since a clip of theirs could be made no other way, each for `RETURN_AFTER_S`.

    Thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._climbs: dict[str, tuple[Rung, float]] = {}

    def record(self, model_id: str, rung: Rung) -> None:
        with self._lock:
            if rung in _OFFLOADS and rung > self._first_rung(model_id):
                self._climbs[model_id] = rung, self._clock() + RETURN_AFTER_S

    def first_rung(self, model_id: str) -> Rung:
        """Where the next call of the model begins."""
        with self._lock:
            return self._first_rung(model_id)

    def _first_rung(self, model_id: str) -> Rung:
        rung, until_s = self._climbs.get(model_id, (Rung.BESIDE, 0.0))
        return rung if self._clock() < until_s else Rung.BESIDE
