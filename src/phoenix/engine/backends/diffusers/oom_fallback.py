"""What to try after a call ran out of memory: the device to itself, then weights that come and go. No I/O."""

import threading
import time
from collections.abc import Callable
from enum import IntEnum

from phoenix.catalog.model import ModelSpec, Offload

FALLBACK_TTL_S = 1800.0
"""By then what was short may be there again: the shortage may have been one large clip's, or another process's. If it
is not, the model pays a failed attempt and two loads, in half an hour a few percent."""


class FallbackLevel(IntEnum):
    """How a call is run. Decoding has levels of its own within each level: see `decoding`."""

    SHARED = 0
    """Beside other calls and models, as long as their memory is known to fit."""
    EXCLUSIVE = 1
    """No other call runs, and no other model is in memory."""
    MODEL_OFFLOAD = 2
    """And of the weights only those of the component at work are on the device: slow, but it fits."""
    GROUP_OFFLOAD = 3
    """And only those of the layers at work: slower still, and the least that can be."""


_OFFLOADS: dict[FallbackLevel, Offload] = {FallbackLevel.MODEL_OFFLOAD: "model", FallbackLevel.GROUP_OFFLOAD: "group"}


def next_level(level: FallbackLevel, model: ModelSpec, *, shared_device: bool) -> FallbackLevel | None:
    """The level to try next; None if none is left. Running alone only helps if `shared_device`."""
    if level is FallbackLevel.SHARED and shared_device:
        return FallbackLevel.EXCLUSIVE
    if model.offload != "auto" or level is FallbackLevel.GROUP_OFFLOAD:
        return None
    return FallbackLevel.GROUP_OFFLOAD if level is FallbackLevel.MODEL_OFFLOAD else FallbackLevel.MODEL_OFFLOAD


def model_at_level(model: ModelSpec, level: FallbackLevel) -> ModelSpec:
    """The model as it is loaded at this level."""
    offload = _OFFLOADS.get(level)
    return model if offload is None else model.model_copy(update={"offload": offload})


class ActiveFallbacks:
    """Which models are offloaded since a clip of theirs could be made no other way, each for `FALLBACK_TTL_S`.

    Thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fallbacks: dict[str, tuple[FallbackLevel, float]] = {}

    def record(self, model_id: str, level: FallbackLevel) -> None:
        with self._lock:
            if level in _OFFLOADS and level > self._first_level(model_id):
                self._fallbacks[model_id] = level, self._clock() + FALLBACK_TTL_S

    def first_level(self, model_id: str) -> FallbackLevel:
        """Where the next call of the model begins."""
        with self._lock:
            return self._first_level(model_id)

    def _first_level(self, model_id: str) -> FallbackLevel:
        level, until_s = self._fallbacks.get(model_id, (FallbackLevel.SHARED, 0.0))
        return level if self._clock() < until_s else FallbackLevel.SHARED
