"""The interface between the dispatcher and the queue. A dispatch message may get lost or arrive twice."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class DispatchMessage:
    """Notifies workers that a task may be claimed under this dispatch number. Carries no user data."""

    task_id: str
    dispatch_seq: int

    @property
    def name(self) -> str:
        """Unique forever, so that a worker with an old dispatch of the task cannot affect a newer dispatch."""
        return f"{self.task_id}:{self.dispatch_seq}"


class TaskQueue(Protocol):
    """Carries dispatch messages to the workers of a queue. Methods raise `phoenix.errors.Unavailable` in an outage."""

    async def enqueue(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Enqueues the messages in this order, all or none. A message that is enqueued again keeps its position."""
        ...

    async def revoke(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Removes messages from the queue. A worker that has picked a message already may still claim its task."""
        ...

    async def find_missing(self, queue: str, messages: Sequence[DispatchMessage]) -> list[DispatchMessage]:
        """The messages that are no longer in the queue, and that no worker will pick."""
        ...

    async def was_wiped(self) -> bool:
        """Whether the queue lost everything since the last call, so that every message must be enqueued again."""
        ...


ReleaseSlot = Callable[[], None]
"""Work calls it when its main part is over: the rest may overlap with the main part of the next task."""


class Work(Protocol):
    """The work of a claimed task."""

    async def run(self, release_slot: ReleaseSlot) -> None:
        """Does the work. It may take long, reports its own outcome, and raises nothing."""
        ...


@dataclass(frozen=True)
class Snooze:
    """Another worker should claim the task. After `for_s` seconds, this worker may claim it too."""

    for_s: float


ClaimTask = Callable[[DispatchMessage], Awaitable[Work | Snooze | None]]
"""Claims the task of a message, and returns its work; None if the message is stale.

If it raises `Unavailable`, the message stays in the queue and is picked again.
"""


def queue_key(prefix: str, queue: str) -> str:
    """Redis key of the sorted set with a queue's messages."""
    return f"{prefix}:queue:{queue}"


def wake_channel(prefix: str, queue: str) -> str:
    """Channel on which the queue's workers are woken, so that they look for messages at once."""
    return f"{prefix}:wake:{queue}"
