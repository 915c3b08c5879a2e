"""Reads of the log that many streams want at once, done once: what a crowd that reconnects costs the database."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from phoenix.contract.events import DurableEvent, JobSnapshot
from phoenix.errors import NotFound
from phoenix.events.log import EventLog, Tail
from phoenix.events.told import Told

_V = TypeVar("_V")
# Snapshots of different jobs that are read at the same time: fewer than the database has connections.
_SNAPSHOTS_AT_ONCE = 4


class Gathered(Generic[_V]):
    """Calls `read` with all keys that were asked for while the call before was under way.

    So no answer is older than its question, which is what a stream needs that has just subscribed.
    """

    def __init__(self, read: Callable[[Collection[str]], Awaitable[Mapping[str, _V]]]) -> None:
        self._read = read
        self._asked: dict[str, asyncio.Future[_V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: str) -> _V | None:
        """The answer for this key; None if there is none."""
        loop = asyncio.get_running_loop()
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = loop.create_future()
            # The error is each asker's to raise; nobody may be left to.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._read_all(), name="gathered-reads")
        return await asyncio.shield(answer)

    async def _read_all(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await self._read(asked.keys())
            except Exception as error:  # noqa: BLE001 - handed to those who asked
                for answer in asked.values():
                    answer.set_exception(error)
                continue
            for key, answer in asked.items():
                answer.set_result(found.get(key))


class SharedReads:
    """An `EventLog` that reads another one. What a connection begins with is shared; the rest is passed on."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tails = Gathered[Tail](log.tails)
        self._told = Gathered[Told](log.told)
        self._snapshots = Gathered[JobSnapshot](self._read_snapshots)
        self._turns = asyncio.Semaphore(_SNAPSHOTS_AT_ONCE)

    async def find_tail(self, job_id: str) -> Tail | None:
        return await self._tails.get(job_id)

    async def tails(self, job_ids: Collection[str]) -> Mapping[str, Tail]:
        if len(job_ids) > 1:
            return await self._log.tails(job_ids)
        found = {job_id: await self.find_tail(job_id) for job_id in job_ids}
        return {job_id: tail for job_id, tail in found.items() if tail}

    async def snapshot(self, job_id: str) -> JobSnapshot:
        snapshot = await self._snapshots.get(job_id)
        if snapshot is None:
            raise NotFound(f"There is no job {job_id}.")
        return snapshot

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        return await self._log.replay(job_id, after_seq)

    async def told(self, job_ids: Collection[str]) -> Mapping[str, Told]:
        if len(job_ids) > 1:
            return await self._log.told(job_ids)
        found = {job_id: await self._told.get(job_id) for job_id in job_ids}
        return {job_id: told for job_id, told in found.items() if told}

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        return await self._log.replay_owner(owner_id, after_seq)

    async def owner_tails(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        return await self._log.owner_tails(owner_ids)

    async def unfinished(self, owner_id: str) -> Sequence[JobSnapshot]:
        return await self._log.unfinished(owner_id)

    async def _read_snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        found = await asyncio.gather(*(self._find_snapshot(job_id) for job_id in job_ids))
        return {snapshot.job_id: snapshot for snapshot in found if snapshot}

    async def _find_snapshot(self, job_id: str) -> JobSnapshot | None:
        async with self._turns:
            try:
                return await self._log.snapshot(job_id)
            except NotFound:
                return None
