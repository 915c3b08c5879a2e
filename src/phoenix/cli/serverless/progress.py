"""Which events of a reel are reported as progress, and how often. Nothing here does I/O."""

import math
from typing import Any

from phoenix.client import Event
from phoenix.contract.events import ClipProgress, ClipSucceeded, JobAssembling, JobSnapshot

Progress = dict[str, Any]


def find_progress(event: Event) -> Progress | None:
    """`state`, `progress` from 0 to 1 and `eta_s`; None for events that say nothing of it, and for the last one."""
    match event:
        case JobSnapshot(job=job) if not job.state.is_terminal:
            return _progress(job.id, job.state.value, job.progress, job.eta_s)
        case ClipProgress():
            return _progress(event.job_id, "running", event.job_progress, event.job_eta_s)
        case ClipSucceeded():
            return _progress(event.job_id, "running", event.progress, None)
        case JobAssembling():
            return _progress(event.job_id, "assembling", None, None)
        case _:
            return None


def _progress(job_id: str, state: str, fraction: float | None, eta_s: float | None) -> Progress:
    known = {"progress": fraction, "eta_s": eta_s}
    given = {name: round(value, 3) for name, value in known.items() if value is not None}
    return {"job_id": job_id, "state": state, **given}


class Throttle:
    """Admits one report in `interval_s`, the first one at once."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_s = -math.inf

    def admits(self, now_s: float) -> bool:
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._interval_s
        return True
