"""The levels to try after a call ran out of memory: alone on the device, then with offloaded weights. No I/O."""

import threading
import time
from collections.abc import Callable
from enum import IntEnum

from phoenix.catalog.model import ModelSpec, Offload

FALLBACK_TTL_S = 1800.0
"""The cause of the shortage may be gone after this time: one large clip, or another process. If it is not, the model
loses a failed attempt and two loads, a few percent of half an hour."""


class FallbackLevel(IntEnum):
    """How much memory a call leaves to others. Within each level, `decoding` can also reduce the tiles."""

    SHARED = 0
    """The call runs together with other calls and models whose memory is known to fit."""
    EXCLUSIVE = 1
    """The call runs alone, and no other model is in memory."""
    MODEL_OFFLOAD = 2
    """Also, only the weights of the running component are on the device. Slow."""
    GROUP_OFFLOAD = 3
    """Also, only the weights of the running layers are on the device. Slowest, with the least memory."""


_OFFLOADS: dict[FallbackLevel, Offload] = {FallbackLevel.MODEL_OFFLOAD: "model", FallbackLevel.GROUP_OFFLOAD: "group"}


def next_level(level: FallbackLevel, model: ModelSpec, *, shared_device: bool) -> FallbackLevel | None:
    """Returns the level to try next; None if there is none. EXCLUSIVE helps only if the call shared the device."""
    if level is FallbackLevel.SHARED and shared_device:
        return FallbackLevel.EXCLUSIVE
    if model.offload != "auto" or level is FallbackLevel.GROUP_OFFLOAD:
        return None
    return FallbackLevel.GROUP_OFFLOAD if level is FallbackLevel.MODEL_OFFLOAD else FallbackLevel.MODEL_OFFLOAD


def model_at_level(model: ModelSpec, level: FallbackLevel) -> ModelSpec:
    """Returns the model with the offload mode of this level."""
    offload = _OFFLOADS.get(level)
    return model if offload is None else model.model_copy(update={"offload": offload})


class ActiveFallbacks:
    """The models that run offloaded, because a recent clip needed it. An entry expires after `FALLBACK_TTL_S`.

    Thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fallbacks: dict[str, tuple[FallbackLevel, float]] = {}

    def record(self, model_id: str, level: FallbackLevel) -> None:
        """Records that a clip of the model succeeded at `level`. Ignores levels without offloading."""
        with self._lock:
            if level in _OFFLOADS and level > self._first_level(model_id):
                self._fallbacks[model_id] = level, self._clock() + FALLBACK_TTL_S

    def first_level(self, model_id: str) -> FallbackLevel:
        """Returns the level at which the next call of the model begins."""
        with self._lock:
            return self._first_level(model_id)

    def _first_level(self, model_id: str) -> FallbackLevel:
        level, until_s = self._fallbacks.get(model_id, (FallbackLevel.SHARED, 0.0))
        return level if self._clock() < until_s else FallbackLevel.SHARED
