"""The durable event log as streams read it, and a wrapper that coalesces reads.

`jobs.event_log` implements the protocol in SQL.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from phoenix.contract import DurableEvent, JobSnapshot
from phoenix.errors import NewerVersionError, NotFound
from phoenix.events.progress_cache import ProgressSnapshot

REPLAY_LIMIT = 1000
"""Most rows in one read of a log; after a read of this many rows, there may be more."""


@dataclass(frozen=True)
class LogHead:
    """The end of a job's log."""

    last_seq: int
    is_terminal: bool
    owner_id: str = ""


LogPosition = tuple[str, int]
"""Id of a job or an owner, and number of the last event that a client has of its log."""


@dataclass(frozen=True)
class OwnerSnapshot:
    """One state of an owner's log and unfinished jobs: the jobs reflect the events up to `last_seq`, and no others."""

    last_seq: int = 0
    jobs: Sequence[JobSnapshot] = ()


class EventLog(Protocol):
    """Reads committed events. A published event is committed, and so are all events before it."""

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        """The next events above `after_seq`, in order, at most `REPLAY_LIMIT`. Empty for an unknown job."""
        ...

    async def replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, Sequence[DurableEvent]]:
        """Like `replay`, for many positions in one query. Positions without newer events may be left out."""
        ...

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        """The heads of many jobs in one query. Jobs that do not exist (any more) are left out."""
        ...

    async def progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        """For each job: the highest progress that a client may have seen, and the latest of each running clip."""
        ...

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        """The next events of the owner's log above `after_seq`, in order, each with its number in that log.

        At most `REPLAY_LIMIT`. The events of deleted jobs, and their numbers, are missing.
        """
        ...

    async def owner_heads(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        """The last number of each owner's log, in one query. Owners that never had a job are left out."""
        ...

    async def owner_snapshot(self, owner_id: str) -> OwnerSnapshot:
        """The last number of the owner's log, and snapshots of the unfinished jobs.

        If there are very many, only the newest jobs.
        """
        ...

    async def snapshot(self, job_id: str) -> JobSnapshot:
        """The whole job with its newest progress. `seq` is the number of the last event that the snapshot reflects.

        Raises `phoenix.errors.NotFound` for an unknown job.
        """
        ...

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        """Like `snapshot`, for many jobs with the same number of queries. Unknown jobs are left out."""
        ...


def has_seen_end(head: LogHead, last_event_id: int | None) -> bool:
    """Whether a reconnecting client has the job's last event. A response with 204 then stops it from reconnecting."""
    return head.is_terminal and last_event_id == head.last_seq


def parse_last_event_id(text: str | None) -> int | None:
    """The number in a `Last-Event-ID`; None if there is none, or if this server never sent it."""
    # isdecimal alone would accept digits of other scripts, and int() is slow on very long numbers.
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        return None
    return int(text)


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_Numbered = Sequence[tuple[int, DurableEvent]]
_MAX_BATCH_KEYS = 100
"""Keys per read, so that the first of a crowd need not wait for the last, and other queries get their turn."""


class BatchLoader(Generic[_K, _V]):
    """Batches reads: calls `read` with all keys that were requested during the previous call.

    A read never starts before the request for its key, since a stream that has just subscribed needs the newest rows.
    """

    def __init__(self, read: Callable[[Collection[_K]], Awaitable[Mapping[_K, _V]]]) -> None:
        self._read = read
        self._pending: dict[_K, asyncio.Future[_V | None]] = {}
        self._is_reading = False

    async def get(self, key: _K) -> _V | None:
        """The value of this key; None if `read` found none. Raises the error of `read`."""
        if not self._is_reading:
            return await self._read_alone(key)
        loop = asyncio.get_running_loop()
        future = self._pending.get(key)
        if future is None:
            future = self._pending[key] = loop.create_future()
            # Each caller raises the error itself. If no caller is left, asyncio must not log it as never retrieved.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(future)

    async def _read_alone(self, key: _K) -> _V | None:
        """Reads in the caller's own task, which is much cheaper than in another one. The others get a task after it."""
        self._is_reading = True
        try:
            return (await self._read((key,))).get(key)
        finally:
            if self._pending:
                self._task = asyncio.create_task(self._read_all(), name="batched-reads")
            else:
                self._is_reading = False

    async def _read_all(self) -> None:
        try:
            while self._pending:
                batch = {key: self._pending.pop(key) for key in list(islice(self._pending, _MAX_BATCH_KEYS))}
                await self._resolve(batch)
        finally:
            self._is_reading = False

    async def _resolve(self, batch: Mapping[_K, "asyncio.Future[_V | None]"]) -> None:
        try:
            found = await self._read(batch.keys())
        except Exception as error:  # noqa: BLE001 - each caller of `get` raises it
            if isinstance(error, NewerVersionError) and len(batch) > 1:
                # A job that only a newer version can read must not fail the reads of other jobs.
                for key, future in batch.items():
                    await self._resolve({key: future})
                return
            for future in batch.values():
                future.set_exception(error)
            return
        for key, future in batch.items():
            future.set_result(found.get(key))


class CoalescingEventLog:
    """An `EventLog` around another log. Coalesces the reads at the start of a connection, and passes on all others.

    So a crowd of reconnecting clients costs the database few queries.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._heads = BatchLoader[str, LogHead](log.heads)
        self._progress = BatchLoader[str, ProgressSnapshot](log.progress)
        self._snapshots = BatchLoader[str, JobSnapshot](log.snapshots)
        self._replays = BatchLoader[LogPosition, Sequence[DurableEvent]](log.replays)
        self._owner_heads = BatchLoader[str, int](log.owner_heads)
        self._owner_replays = BatchLoader[LogPosition, _Numbered](self._read_owner_replays)
        self._owner_snapshots = BatchLoader[str, OwnerSnapshot](self._read_owner_snapshots)

    async def find_head(self, job_id: str) -> LogHead | None:
        return await self._heads.get(job_id)

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        if len(job_ids) > 1:
            return await self._log.heads(job_ids)
        found = {job_id: await self.find_head(job_id) for job_id in job_ids}
        return {job_id: head for job_id, head in found.items() if head}

    async def snapshot(self, job_id: str) -> JobSnapshot:
        snapshot = await self._snapshots.get(job_id)
        if snapshot is None:
            raise NotFound(f"There is no job {job_id}.")
        return snapshot

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        return await self._log.snapshots(job_ids)

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        return await self._replays.get((job_id, after_seq)) or ()

    async def replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, Sequence[DurableEvent]]:
        return await self._log.replays(positions)

    async def progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        if len(job_ids) > 1:
            return await self._log.progress(job_ids)
        found = {job_id: await self._progress.get(job_id) for job_id in job_ids}
        return {job_id: published for job_id, published in found.items() if published}

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        return await self._owner_replays.get((owner_id, after_seq)) or ()

    async def owner_heads(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        if len(owner_ids) > 1:
            return await self._log.owner_heads(owner_ids)
        found = {owner_id: await self._owner_heads.get(owner_id) for owner_id in owner_ids}
        return {owner_id: head for owner_id, head in found.items() if head is not None}

    async def owner_snapshot(self, owner_id: str) -> OwnerSnapshot:
        return await self._owner_snapshots.get(owner_id) or OwnerSnapshot()

    async def _read_owner_replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, _Numbered]:
        return {position: await self._log.replay_owner(*position) for position in positions}

    async def _read_owner_snapshots(self, owner_ids: Collection[str]) -> Mapping[str, OwnerSnapshot]:
        return {owner_id: await self._log.owner_snapshot(owner_id) for owner_id in owner_ids}
