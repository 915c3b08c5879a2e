"""The interface between the dispatcher and the queue. A dispatch message may get lost or arrive twice."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class DispatchMessage:
    """Says that a task may be claimed under this dispatch number. Carries no user data."""

    task_id: str
    dispatch_seq: int

    @property
    def name(self) -> str:
        """Unique forever, so that whoever still handles an old dispatch cannot affect a newer one."""
        return f"{self.task_id}:{self.dispatch_seq}"


class TaskQueue(Protocol):
    """Carries dispatch messages to the workers of a queue. Raises `phoenix.errors.Unavailable` while it cannot."""

    async def enqueue(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Enqueues the messages in this order, all or none. Enqueuing one again is harmless: it keeps its position."""
        ...

    async def revoke(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Removes messages from the queue. A message that is being handled already may still be handled."""
        ...

    async def find_missing(self, queue: str, messages: Sequence[DispatchMessage]) -> list[DispatchMessage]:
        """The messages that are no longer on their way to a worker."""
        ...

    async def was_wiped(self) -> bool:
        """Whether everything was lost since the last call, so that every message must be enqueued anew."""
        ...


ReleaseSlot = Callable[[], None]
"""Called when the work's main part is over: the rest may overlap with the next task's main part."""

Work = Callable[[ReleaseSlot], Awaitable[None]]
"""The work of a claimed task. May take long; reports its own outcome, and raises nothing."""


@dataclass(frozen=True)
class Snooze:
    """The task should be claimed elsewhere; from `for_s` seconds on, here too."""

    for_s: float


ClaimTask = Callable[[DispatchMessage], Awaitable[Work | Snooze | None]]
"""Claims the task; None if the message is stale. If it raises `Unavailable`, the message is kept and comes again."""


def queue_key(prefix: str, queue: str) -> str:
    """Key of the sorted set of a queue's messages."""
    return f"{prefix}:queue:{queue}"


def wake_channel(prefix: str, queue: str) -> str:
    """Channel that wakes the queue's workers, so that they look at once."""
    return f"{prefix}:wake:{queue}"
