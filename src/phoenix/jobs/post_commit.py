"""The events that a transaction publishes after its commit. `assembly` delivers them; nothing depends on them."""

from dataclasses import dataclass

from phoenix.contract.events import DurableEvent


@dataclass(frozen=True)
class EventRecorded:
    """A durable event is in the log: streams may show it."""

    event: DurableEvent
    owner_id: str
    owner_seq: int
    """Its place among the events of all jobs of the owner."""


@dataclass(frozen=True)
class TasksReady:
    """The dispatcher should look: tasks became ready, or a slot became free."""


@dataclass(frozen=True)
class StopRequested:
    """The running attempt of this task should end; its worker also reads it at its next renewal."""

    task_id: str


@dataclass(frozen=True)
class FilesOrphaned:
    """These keys of the store no longer have a row."""

    keys: tuple[str, ...]
