"""Coalesces reads of the log that many streams need at once, so that a reconnecting crowd spares the database."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from phoenix.contract.events import DurableEvent, JobSnapshot
from phoenix.errors import NotFound, WrittenByNewer
from phoenix.events.log.protocol import EventLog, Place, Tail
from phoenix.events.progress_cache import Told

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_Numbered = Sequence[tuple[int, DurableEvent]]
_MOST_AT_ONCE = 100
"""Keys per read: the first of a crowd need not wait for the last, and other work reaches the database in between."""


class Gathered(Generic[_K, _V]):
    """Batches reads: calls `read` with all keys that were asked for during the previous call.

    So no answer is older than its question, as a stream that has just subscribed requires.
    """

    def __init__(self, read: Callable[[Collection[_K]], Awaitable[Mapping[_K, _V]]]) -> None:
        self._read = read
        self._asked: dict[_K, asyncio.Future[_V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: _K) -> _V | None:
        """The answer for this key; None if there is none."""
        loop = asyncio.get_running_loop()
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = loop.create_future()
            # Each asker raises the error itself; if none is left, it must not be logged as never retrieved.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._read_all(), name="gathered-reads")
        return await asyncio.shield(answer)

    async def _read_all(self) -> None:
        while self._asked:
            asked = {key: self._asked.pop(key) for key in list(islice(self._asked, _MOST_AT_ONCE))}
            await self._answer(asked)

    async def _answer(self, asked: Mapping[_K, "asyncio.Future[_V | None]"]) -> None:
        try:
            found = await self._read(asked.keys())
        except Exception as error:  # noqa: BLE001 - handed to those who asked
            if isinstance(error, WrittenByNewer) and len(asked) > 1:
                # A job that only a newer version can read must not fail the others.
                for key, answer in asked.items():
                    await self._answer({key: answer})
                return
            for answer in asked.values():
                answer.set_exception(error)
            return
        for key, answer in asked.items():
            answer.set_result(found.get(key))


class SharedReads:
    """An `EventLog` around another one. The reads at the start of a connection are coalesced, others passed on."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tails = Gathered[str, Tail](log.tails)
        self._told = Gathered[str, Told](log.told)
        self._snapshots = Gathered[str, JobSnapshot](log.snapshots)
        self._replays = Gathered[Place, Sequence[DurableEvent]](log.replays)
        self._owner_tails = Gathered[str, int](log.owner_tails)
        self._owner_replays = Gathered[Place, _Numbered](self._read_owner_replays)
        self._unfinished = Gathered[str, Sequence[JobSnapshot]](self._read_unfinished)

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

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        return await self._log.snapshots(job_ids)

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        return await self._replays.get((job_id, after_seq)) or ()

    async def replays(self, places: Collection[Place]) -> Mapping[Place, Sequence[DurableEvent]]:
        return await self._log.replays(places)

    async def told(self, job_ids: Collection[str]) -> Mapping[str, Told]:
        if len(job_ids) > 1:
            return await self._log.told(job_ids)
        found = {job_id: await self._told.get(job_id) for job_id in job_ids}
        return {job_id: told for job_id, told in found.items() if told}

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        return await self._owner_replays.get((owner_id, after_seq)) or ()

    async def owner_tails(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        if len(owner_ids) > 1:
            return await self._log.owner_tails(owner_ids)
        found = {owner_id: await self._owner_tails.get(owner_id) for owner_id in owner_ids}
        return {owner_id: tail for owner_id, tail in found.items() if tail is not None}

    async def unfinished(self, owner_id: str) -> Sequence[JobSnapshot]:
        return await self._unfinished.get(owner_id) or ()

    async def _read_owner_replays(self, places: Collection[Place]) -> Mapping[Place, _Numbered]:
        return {place: await self._log.replay_owner(*place) for place in places}

    async def _read_unfinished(self, owner_ids: Collection[str]) -> Mapping[str, Sequence[JobSnapshot]]:
        return {owner_id: await self._log.unfinished(owner_id) for owner_id in owner_ids}
