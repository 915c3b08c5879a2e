"""Counts what has ended in the statistics, and samples the queues."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.db import Database
from phoenix.jobs.history.figures import QueueSample
from phoenix.jobs.history.rollup import BATCH, has_measurements, roll_up
from phoenix.jobs.metrics import record_job_counts
from phoenix.jobs.scheduling.workers import fetch_live, fetch_queue
from phoenix.jobs.tables import WorkerRow

INTERVAL_S = 5.0
SAMPLE_INTERVAL_S = 15.0
"""Time between two samples of the queues. Shorter events may be missed."""

JOB_COUNT_INTERVAL_S = 60.0
"""Time between two counts of all stored jobs, which take longer with more jobs."""


class StatisticsService:
    """The background service `statistics` of one API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sampled_at_s: float | None = None
        self._count_jobs_at_s = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async def wait() -> None:
            await asyncio.sleep(INTERVAL_S)

        async with leader_loop(LeaderLease(self._database, "statistics"), self.step, wait):
            yield

    async def step(self) -> None:
        """Counts all that has ended, and samples the queues if it is time. Raises `Unavailable`."""
        if time.monotonic() >= self._count_jobs_at_s:
            self._count_jobs_at_s = time.monotonic() + JOB_COUNT_INTERVAL_S
            async with self._database.write() as uow:
                await record_job_counts(uow)
        samples = await self._sample()
        while samples or await self._has_measurements():
            async with self._database.write() as uow:
                counted = await roll_up(uow, samples)
            samples = ()
            if counted < BATCH:
                return

    async def _has_measurements(self) -> bool:
        async with self._database.read_once() as session:
            return await has_measurements(session)

    async def _sample(self) -> Sequence[QueueSample]:
        now_s, before_s = time.monotonic(), self._sampled_at_s
        if before_s is not None and now_s - before_s < SAMPLE_INTERVAL_S:
            return ()
        self._sampled_at_s = now_s
        depths, live = (await fetch_queue(self._database)).queues, await fetch_live(self._database)
        # After a longer gap, another process was the leader meanwhile.
        lasted_s = SAMPLE_INTERVAL_S if before_s is None else min(now_s - before_s, 2 * SAMPLE_INTERVAL_S)
        shares = memory_shares(live)
        return [
            QueueSample(depth.name, depth.waiting, depth.running, depth.slots, lasted_s, shares.get(depth.name))
            for depth in depths
        ]


def memory_shares(live: Sequence[WorkerRow]) -> Mapping[str, float]:
    """The largest share of the memory of a device that is in use, by queue."""
    shares: dict[str, float] = {}
    for worker in live:
        if worker.memory_used_bytes is not None and worker.memory_total_bytes:
            share = round(worker.memory_used_bytes / worker.memory_total_bytes, 4)
            for queue in worker.slots:
                shares[queue] = max(share, shares.get(queue, 0.0))
    return shares
