"""The heartbeat thread with a real database, which may hang or be away."""

import asyncio
import io
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from fixtures.claims import ManualClock
from fixtures.database_lock import locked
from fixtures.log_lines import lines_about
from fixtures.workplace import OpenHarness, WorkerHarness, a_reel
from phoenix.engine.stop_token import StopReason
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.execution.recovery import recover_from_lost_worker
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.scheduling.workers import WorkerReport
from phoenix.jobs.tables import TaskRow, WorkerRow
from phoenix.services import open_database
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.leases import HeldLease, LeaseHeartbeat, LeaseTerms

WORKER = "wrk_01kag3e9zq4f7w5m8x2c6b0n1d"
LEASE_S = 60
REPORT = WorkerReport(worker_id=WORKER, host="h", pid=1, device="cpu", slots={"gpu": 1})


class Heartbeats:
    """Lease heartbeats at work, and what they did to this process."""

    def __init__(self, harness: WorkerHarness) -> None:
        self.harness = harness
        self.clock = ManualClock()
        """Of the worker. A machine that stands still ends no lease; the test does."""
        self.exits: list[int] = []
        self._started: list[LeaseHeartbeat] = []

    def start(self, **changes: Any) -> LeaseHeartbeat:
        terms = LeaseTerms(**{"lease_s": LEASE_S, "heartbeat_s": 0.1, "stall_timeout_s": 600, **changes})
        opened = partial(open_database, self.harness.settings)
        heartbeat = LeaseHeartbeat(
            opened, WORKER, terms, lambda: REPORT, end_process=self.exits.append, clock=self.clock
        )
        heartbeat.start()
        self._started.append(heartbeat)
        return heartbeat

    def close(self) -> None:
        for heartbeat in self._started:
            heartbeat.close()

    async def claim_clip(self, heartbeat: LeaseHeartbeat) -> HeldLease:
        """A fresh job's clip, claimed."""
        job_id = await self.harness.submit(a_reel())
        task = (await self.harness.job(job_id)).tasks[0]
        since_s = self.clock()
        async with self.harness.services.database.write() as uow:
            claimed = await claim(uow, task.id, task.dispatch_seq, worker_id=WORKER, lease_s=heartbeat.terms.lease_s)
        assert claimed is not None
        return heartbeat.add(claimed, since_s=since_s)

    def read_blocking(self, lease: HeldLease) -> str:
        """When the lease ends, as it is stored."""
        with closing(sqlite3.connect(self.harness.settings.data_dir / "phoenix.db")) as connection:
            query = f"SELECT lease_until FROM {TaskRow.__tablename__} WHERE id = ?"
            return connection.execute(query, [lease.claim.task_id]).fetchone()[0]

    async def task(self, lease: HeldLease) -> TaskRow:
        async with self.harness.services.database.read() as session:
            return await session.get_one(TaskRow, lease.claim.task_id)


@pytest.fixture
async def heartbeats(open_harness: OpenHarness) -> AsyncIterator[Heartbeats]:
    heartbeats = Heartbeats(await open_harness(database_busy_s=0.2, has_dispatcher=False))
    yield heartbeats
    heartbeats.close()


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(100):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)


async def until_renewed(heartbeats: Heartbeats, lease: HeldLease, times: int = 2) -> None:
    async with asyncio.timeout(100):
        seen = {(await heartbeats.task(lease)).lease_until}
        while len(seen) <= times:
            seen.add((await heartbeats.task(lease)).lease_until)
            await asyncio.sleep(0.02)


async def until_seen(heartbeats: Heartbeats, times: int = 2) -> None:
    """Until the worker has reported so many times more."""

    async def seen_at() -> Any:
        async with heartbeats.harness.services.database.read() as session:
            row = await session.get(WorkerRow, WORKER)
            return row.seen_at if row else None

    async with asyncio.timeout(100):
        seen = {await seen_at()}
        while len(seen) <= times:
            seen.add(await seen_at())
            await asyncio.sleep(0.02)


async def test_leases_are_renewed_while_the_event_loop_is_blocked(heartbeats: Heartbeats) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start())
    stored, turns = {heartbeats.read_blocking(lease)}, 0
    while len(stored) < 4 and (turns := turns + 1) < 5000:
        time.sleep(0.02)  # noqa: ASYNC251 - the claim itself
        stored.add(heartbeats.read_blocking(lease))
    assert len(stored) == 4
    assert lease.stop.reason is None


async def test_the_worker_is_reported_with_every_beat(heartbeats: Heartbeats) -> None:
    heartbeats.start()
    await until_seen(heartbeats)


async def test_a_cancel_of_a_task_held_here_does_not_wait_for_the_heartbeat(heartbeats: Heartbeats) -> None:
    heartbeat = heartbeats.start(heartbeat_s=600, lease_s=1800)
    lease = await heartbeats.claim_clip(heartbeat)
    await heartbeats.harness.cancel(lease.claim.job_id)
    heartbeat.renew_now("task_of_another_worker")
    heartbeat.renew_now(lease.claim.task_id)
    await until(lambda: lease.stop.reason)
    assert lease.stop.reason is StopReason.CANCEL


async def test_a_lease_that_was_taken_away_is_lost(heartbeats: Heartbeats) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start())
    rule = RetryRule.from_settings(heartbeats.harness.settings.scheduler)
    async with heartbeats.harness.services.database.write() as uow:
        assert await recover_from_lost_worker(uow, lease.claim.job_id, lease.claim.task_id, WORKER, rule)
    await until(lambda: lease.stop.reason)
    assert lease.stop.reason is StopReason.LOST


async def test_an_earlier_attempt_is_lost_though_the_same_worker_holds_the_next(heartbeats: Heartbeats) -> None:
    heartbeat = heartbeats.start()
    first = await heartbeats.claim_clip(heartbeat)
    rule = RetryRule.from_settings(heartbeats.harness.settings.scheduler)
    async with heartbeats.harness.services.database.write() as uow:
        await recover_from_lost_worker(uow, first.claim.job_id, first.claim.task_id, WORKER, rule)
    task = await heartbeats.task(first)
    async with heartbeats.harness.services.database.write() as uow:
        claimed = await claim(uow, task.id, task.dispatch_seq, worker_id=WORKER, lease_s=LEASE_S)
    assert claimed is not None
    second = heartbeat.add(claimed, since_s=heartbeats.clock())
    await until(lambda: first.stop.reason)
    await until_renewed(heartbeats, second)
    assert (first.stop.reason, second.stop.reason) == (StopReason.LOST, None)


async def test_without_the_database_a_lease_is_given_up_in_time_and_renewing_goes_on_after(
    heartbeats: Heartbeats,
) -> None:
    heartbeat = heartbeats.start()
    lease = await heartbeats.claim_clip(heartbeat)
    await until_renewed(heartbeats, lease)
    async with locked(heartbeats.harness.settings):
        heartbeats.clock.now_s += 0.9 * LEASE_S
        await until(lambda: lease.stop.reason)
    assert lease.stop.reason is StopReason.LOST
    heartbeat.remove(lease)
    await until_renewed(heartbeats, await heartbeats.claim_clip(heartbeat))


async def test_a_short_outage_of_the_database_costs_nothing(heartbeats: Heartbeats, log_lines: io.StringIO) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start())
    async with locked(heartbeats.harness.settings):
        heartbeats.clock.now_s += 0.5 * LEASE_S
        await until(lambda: lines_about(log_lines, "leases not renewed"))
    await until_renewed(heartbeats, lease)
    assert lease.stop.reason is None


async def test_a_thread_that_hangs_loses_its_lease_and_then_ends_the_process(heartbeats: Heartbeats) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start(stall_timeout_s=10))
    heartbeats.clock.now_s += 11
    await until(lambda: lease.stop.reason)
    await until_seen(heartbeats)
    stalled = await heartbeats.task(lease)
    await until_seen(heartbeats)
    # Not renewed any more, so that another worker can have it.
    assert (await heartbeats.task(lease)).lease_until == stalled.lease_until
    assert (lease.stop.reason, heartbeats.exits) == (StopReason.STALLED, [])
    heartbeats.clock.now_s += LEASE_S + 1
    await until(lambda: heartbeats.exits)
    assert heartbeats.exits[0] == ExitStatus.STALLED


async def test_closing_ends_the_thread(heartbeats: Heartbeats) -> None:
    heartbeat = heartbeats.start(heartbeat_s=3600, lease_s=7200)
    assert "leases" in names_of_threads()
    heartbeat.close(timeout_s=100)
    assert "leases" not in names_of_threads()


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
