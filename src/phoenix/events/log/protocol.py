"""The durable log as streams need it; `jobs` implements it in SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from phoenix.contract.events import DurableEvent, JobSnapshot
from phoenix.events.progress_cache import ProgressSnapshot

REPLAY_LIMIT = 1000
"""Rows in one read of a log; a reader that gets this many asks for more."""


@dataclass(frozen=True)
class LogHead:
    """Where a job's log ends now."""

    last_seq: int
    is_terminal: bool
    owner_id: str = ""


LogPosition = tuple[str, int]
"""(Id of a job or an owner, number of the last event that a client has of it.)"""


@dataclass(frozen=True)
class OwnerSnapshot:
    """One state of an owner's log and jobs: the jobs reflect the events up to `last_seq`, and none after it."""

    last_seq: int = 0
    jobs: Sequence[JobSnapshot] = ()


class EventLog(Protocol):
    """Reads of committed rows. An event that was published is committed, and so are all before it."""

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        """The next events above `after_seq`, in order, at most `REPLAY_LIMIT`. Empty for an unknown job."""
        ...

    async def replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, Sequence[DurableEvent]]:
        """Like `replay`, for many positions in one query; those without newer events may be left out."""
        ...

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        """The heads of many jobs in one query. A job that is left out does not exist (any more)."""
        ...

    async def progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        """The most progress that any client may have seen of each job, and the latest of each running clip."""
        ...

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        """The next events of all the owner's jobs above a number of the owner's log, in order, each with its number.

        At most `REPLAY_LIMIT`. The numbers of deleted jobs' events are missing.
        """
        ...

    async def owner_heads(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        """The last number of each owner, in one query; one that never had a job is left out."""
        ...

    async def owner_snapshot(self, owner_id: str) -> OwnerSnapshot:
        """The owner's last number, and snapshots of the unfinished jobs; only the newest if there are very many."""
        ...

    async def snapshot(self, job_id: str) -> JobSnapshot:
        """The whole job with its newest progress; `seq` is the last number of the log that it reflects.

        Raises `phoenix.errors.NotFound` for an unknown job.
        """
        ...

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        """Like `snapshot`, for many jobs with the same number of queries; unknown ones are left out."""
        ...


def has_seen_end(head: LogHead, last_event_id: int | None) -> bool:
    """Whether a reconnecting client has seen the job's end: respond with 204, which stops it from reconnecting."""
    return head.is_terminal and last_event_id == head.last_seq


def parse_last_event_id(text: str | None) -> int | None:
    """The number in a `Last-Event-ID`; None for none and for what this server never sent."""
    # isdecimal alone would accept digits of other scripts, and int() is slow on very long numbers.
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        return None
    return int(text)
