"""What streams need to know of the durable log, which lives in SQL and belongs to `jobs`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from phoenix.contract.events import DurableEvent, JobSnapshot
from phoenix.events.told import Told

REPLAY_LIMIT = 1000
"""Rows in one read of a log; who gets so many asks for more."""


@dataclass(frozen=True)
class Tail:
    """Where a job's log ends now."""

    last_seq: int
    is_terminal: bool
    owner_id: str = ""


Place = tuple[str, int]
"""A job or an owner, and the number of the last event that somebody has of it."""


class EventLog(Protocol):
    """Reads of committed rows. An event that was published is committed, and so are all before it."""

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        """The next events above `after_seq`, in order, at most `REPLAY_LIMIT`. Empty for an unknown job."""
        ...

    async def replays(self, places: Collection[Place]) -> Mapping[Place, Sequence[DurableEvent]]:
        """As `replay`, for many places in one query; those after which nothing came may be left out."""
        ...

    async def tails(self, job_ids: Collection[str]) -> Mapping[str, Tail]:
        """The tails of many jobs in one query. A job that is left out does not exist (any more)."""
        ...

    async def told(self, job_ids: Collection[str]) -> Mapping[str, Told]:
        """How far any client can have seen each job go, and the newest word of each clip that is being rendered."""
        ...

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        """The next events of all the owner's jobs above a number of the owner's, in order, each with its number.

        At most `REPLAY_LIMIT` of them. Numbers may be missing: those of jobs that were deleted.
        """
        ...

    async def owner_tails(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        """The last number of each owner, in one query; one that never had a job is left out."""
        ...

    async def unfinished(self, owner_id: str) -> Sequence[JobSnapshot]:
        """Snapshots of the owner's jobs that wait or run, the newest ones if there are very many."""
        ...

    async def snapshot(self, job_id: str) -> JobSnapshot:
        """The whole job with its newest progress; `seq` is the last number of the log that it reflects.

        Raises `phoenix.errors.NotFound` for an unknown job.
        """
        ...

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        """As `snapshot`, of many jobs with as many queries; unknown ones are left out."""
        ...


def has_been_told(tail: Tail, last_event_id: int | None) -> bool:
    """Whether a client that reconnects has seen the job's end: answer 204, which stops its reconnecting."""
    return tail.is_terminal and last_event_id == tail.last_seq


def parse_last_event_id(text: str | None) -> int | None:
    """The number in a `Last-Event-ID`; None for none and for what this server never sent."""
    # isdecimal alone would let other scripts' digits through, and a long number would stall int().
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        return None
    return int(text)
