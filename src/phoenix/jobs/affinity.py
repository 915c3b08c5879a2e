"""Whether a worker leaves a clip whose turn has come to one that holds its model. Pure.

Loading a model takes as long as a clip or two, so it is worth a short wait, which is bounded: nobody waits for ever.
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
    """Since a worker first left it to others; None if none did."""
    others_next: Collection[str]
    """Models of the other clips whose doorbells are in Redis."""


def should_leave(turn: Turn, held: Collection[str], others: Collection[Candidate], *, wait_s: float) -> bool:
    """`held`: models in this worker's memory. Once the clip was left to others for `wait_s`, anyone takes it.

    It is left to a holder that is idle, or to one that is busy if there is a clip for what this worker holds: then
    nobody stands idle meanwhile.
    """
    if turn.model in held or (turn.passed_for_s is not None and turn.passed_for_s >= wait_s):
        return False
    holders = [other for other in others if turn.model in other.models]
    if any(holder.free_slots > 0 for holder in holders):
        return wait_s > 0
    return bool(holders) and wait_s > 0 and any(model in held for model in turn.others_next)
