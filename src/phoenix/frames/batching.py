"""Decides when a batch begins, how large it is, and which engine gets it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchWindow:
    """A batch begins when `most` requests wait, or when the oldest of them has waited for `window_s`."""

    most: int
    window_s: float

    def find_wait_s(self, waiting: int, oldest_s: float) -> float:
        """Returns how long the next batch waits for further requests; 0 if it is due."""
        return 0.0 if waiting >= self.most else max(0.0, self.window_s - oldest_s)

    def choose_size(self, waiting: int, idle_engines: int) -> int:
        """Returns how many of the waiting requests the next engine gets: an equal share for every idle engine."""
        return max(1, min(self.most, math.ceil(waiting / max(1, idle_engines))))


@dataclass(frozen=True)
class EngineLoad:
    """How busy one engine is. `device_frames`: what all engines of its device render now."""

    device_frames: int
    frames_made: int


def choose_engine(idle: Sequence[EngineLoad]) -> int:
    """Returns the place of the engine with the least load: on the device with the least, then the least used one."""
    return min(range(len(idle)), key=lambda place: (idle[place].device_frames, idle[place].frames_made))
