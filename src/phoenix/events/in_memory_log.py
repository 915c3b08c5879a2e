"""An event log in memory, for tests of the log's readers."""

from collections.abc import Collection, Mapping, Sequence

from phoenix.clock import Clock, utc_now
from phoenix.contract import TERMINAL_EVENT_TYPES, DurableEvent, Job, JobSnapshot
from phoenix.errors import NotFound
from phoenix.events.log_interface import REPLAY_LIMIT, LogHead, LogPosition, OwnerSnapshot
from phoenix.events.messages import EventEnvelope
from phoenix.events.progress_cache import ProgressSnapshot


class MemoryEventLog:
    """An `EventLog` to which a test appends the events."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._events: dict[str, list[DurableEvent]] = {}
        self._owners: dict[str, str] = {}
        self._by_owner: dict[str, list[DurableEvent]] = {}

    def put(self, job: Job, owner_id: str = "") -> None:
        """Adds the job, or replaces the job that snapshots show."""
        self._jobs[job.id] = job
        self._owners[job.id] = owner_id
        self._events.setdefault(job.id, [])

    def append(self, event: DurableEvent) -> EventEnvelope:
        """Adds the next event of a job's log. Raises `ValueError` if its number is not the next number."""
        events = self._events[event.job_id]
        if event.seq != len(events) + 1:
            raise ValueError(f"expected number {len(events) + 1}, got {event.seq}")
        events.append(event)
        owner_id = self._owners[event.job_id]
        of_owner = self._by_owner.setdefault(owner_id, [])
        of_owner.append(event)
        return EventEnvelope(event, owner_id, len(of_owner))

    def remove(self, job_id: str) -> None:
        del self._jobs[job_id], self._events[job_id]

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        return self._events.get(job_id, [])[max(after_seq, 0) :]

    async def replays(self, positions: Collection[LogPosition]) -> Mapping[LogPosition, Sequence[DurableEvent]]:
        return {position: await self.replay(*position) for position in positions}

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        return {job_id: self._head(job_id) for job_id in job_ids if job_id in self._events}

    async def snapshot(self, job_id: str) -> JobSnapshot:
        if job_id not in self._jobs:
            raise NotFound
        seq = len(self._events[job_id])
        job = self._jobs[job_id].model_copy(update={"last_seq": seq})
        return JobSnapshot(job_id=job_id, seq=seq, at=self._clock(), job=job)

    async def snapshots(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        return {job_id: await self.snapshot(job_id) for job_id in job_ids if job_id in self._jobs}

    async def progress(self, job_ids: Collection[str]) -> Mapping[str, ProgressSnapshot]:
        return {job_id: ProgressSnapshot(self._jobs[job_id].progress) for job_id in job_ids if job_id in self._jobs}

    async def replay_owner(self, owner_id: str, after_seq: int) -> Sequence[tuple[int, DurableEvent]]:
        numbered = list(enumerate(self._by_owner.get(owner_id, []), 1))
        return numbered[max(after_seq, 0) :][:REPLAY_LIMIT]

    async def owner_heads(self, owner_ids: Collection[str]) -> Mapping[str, int]:
        return {owner_id: len(self._by_owner[owner_id]) for owner_id in owner_ids if owner_id in self._by_owner}

    async def owner_snapshot(self, owner_id: str) -> OwnerSnapshot:
        owned = [job_id for job_id, owner in self._owners.items() if owner == owner_id and job_id in self._jobs]
        jobs = [await self.snapshot(job_id) for job_id in owned if not self._head(job_id).is_terminal]
        return OwnerSnapshot(len(self._by_owner.get(owner_id, [])), jobs)

    def _head(self, job_id: str) -> LogHead:
        events = self._events[job_id]
        is_terminal = bool(events) and events[-1].type in TERMINAL_EVENT_TYPES
        return LogHead(len(events), is_terminal, self._owners[job_id])
