"""Model affinity: whether a worker leaves a clip whose turn has come to one that holds its model. Pure.

Loading a model takes as long as rendering a clip or two, so a short wait is worth it. It is bounded.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """Another live worker that could take the clip."""

    models: Collection[str]
    """Held in memory now."""
    free_slots: int


@dataclass(frozen=True)
class Turn:
    """A clip whose doorbell a worker is about to answer."""

    model: str
    passed_for_s: float | None
    """Seconds since a worker first left it to others; None if none did."""
    others_next: Collection[str]
    """Models of the other clips whose doorbells are in Redis."""


def should_leave(turn: Turn, held: Collection[str], others: Collection[Candidate], *, wait_s: float) -> bool:
    """`held`: models in this worker's memory. After `wait_s` in which the clip was left to others, anyone takes it.

    It is left to an idle holder of its model. It is left to a busy one only if another clip waits for a model that
    this worker holds, so that no worker stands idle.
    """
    if turn.model in held or (turn.passed_for_s is not None and turn.passed_for_s >= wait_s):
        return False
    holders = [other for other in others if turn.model in other.models]
    if any(holder.free_slots > 0 for holder in holders):
        return wait_s > 0
    return bool(holders) and wait_s > 0 and any(model in held for model in turn.others_next)
