"""What a transaction publishes after its commit in addition to events. `assembly.services` delivers it."""

from dataclasses import dataclass


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
