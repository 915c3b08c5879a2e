"""The interface between what rings doorbells and what carries them. A doorbell may get lost or arrive twice."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Doorbell:
    """Says that a task may be claimed under this dispatch number. Carries no user data."""

    task_id: str
    dispatch: int

    @property
    def name(self) -> str:
        """Unique forever, so that whoever still handles an old dispatch cannot affect a newer one."""
        return f"{self.task_id}:{self.dispatch}"


class TaskQueue(Protocol):
    """Carries doorbells to the workers of a queue. Raises `phoenix.errors.Unavailable` while it cannot."""

    async def ring(self, queue: str, doorbells: Sequence[Doorbell]) -> None:
        """Rings the doorbells in this order, all or none. Ringing one again is harmless, and keeps its place."""
        ...

    async def withdraw(self, queue: str, doorbells: Sequence[Doorbell]) -> None:
        """Takes back doorbells. One that is being answered already may still be answered."""
        ...

    async def find_missing(self, queue: str, doorbells: Sequence[Doorbell]) -> list[Doorbell]:
        """Those of `doorbells` that are no longer on their way to a worker."""
        ...

    async def was_wiped(self) -> bool:
        """Whether everything was lost since the last call, so that every doorbell must be rung anew."""
        ...


FreeSlot = Callable[[], None]
"""Called when the work's main part is over: the rest may overlap with the next task's main part."""

Work = Callable[[FreeSlot], Awaitable[None]]
"""The work behind an answered doorbell. May take long; reports its own outcome, and raises nothing."""


@dataclass(frozen=True)
class LeftToOthers:
    """The doorbell should be answered elsewhere; from `for_s` seconds on, here too."""

    for_s: float


Accept = Callable[[Doorbell], Awaitable[Work | LeftToOthers | None]]
"""Claims the task; None if the doorbell is stale. If it raises `Unavailable`, the doorbell is kept and comes again."""


def queue_key(prefix: str, queue: str) -> str:
    """Key of the sorted set in which the doorbells of a queue wait."""
    return f"{prefix}:queue:{queue}"


def wake_channel(prefix: str, queue: str) -> str:
    """Channel on which a ring tells the queue's workers to look at once."""
    return f"{prefix}:wake:{queue}"
