"""The heartbeat thread with a real database, which may hang or be away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from fixtures.database_lock import locked
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
LEASE_S = 4
"""A busy machine may stand still for a second, which must not cost a lease."""
REPORT = WorkerReport(worker_id=WORKER, host="h", pid=1, device="cpu", slots={"gpu": 1})


class Heartbeats:
    """Lease heartbeats at work, and what they did to this process."""

    def __init__(self, harness: WorkerHarness) -> None:
        self.harness = harness
        self.exits: list[int] = []
        self._started: list[LeaseHeartbeat] = []

    def start(self, **changes: Any) -> LeaseHeartbeat:
        terms = LeaseTerms(**{"lease_s": LEASE_S, "heartbeat_s": 0.1, "stall_timeout_s": 60, **changes})
        opened = partial(open_database, self.harness.settings)
        heartbeat = LeaseHeartbeat(opened, WORKER, terms, lambda: REPORT, end_process=self.exits.append)
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
        since_s = time.monotonic()
        async with self.harness.services.database.write() as uow:
            claimed = await claim(uow, task.id, task.dispatch_seq, worker_id=WORKER, lease_s=heartbeat.terms.lease_s)
        assert claimed is not None
        return heartbeat.add(claimed, since_s=since_s)

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


async def test_leases_are_renewed_while_the_event_loop_is_blocked(heartbeats: Heartbeats) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start())
    before = (await heartbeats.task(lease)).lease_until
    time.sleep(LEASE_S + 0.5)  # noqa: ASYNC251 - the claim itself: longer than the lease
    after = (await heartbeats.task(lease)).lease_until
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > LEASE_S
    assert lease.stop.reason is None


async def test_the_worker_is_reported_with_every_beat(heartbeats: Heartbeats) -> None:
    heartbeats.start()

    async def seen_at() -> Any:
        async with heartbeats.harness.services.database.read() as session:
            row = await session.get(WorkerRow, WORKER)
            return row.seen_at if row else None

    async with asyncio.timeout(100):
        seen = {await seen_at()}
        while len(seen) < 3:
            seen.add(await seen_at())
            await asyncio.sleep(0.02)


async def test_a_cancel_of_a_task_held_here_does_not_wait_for_the_heartbeat(heartbeats: Heartbeats) -> None:
    heartbeat = heartbeats.start(heartbeat_s=60, lease_s=300)
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
    second = heartbeat.add(claimed, since_s=time.monotonic())
    await until(lambda: first.stop.reason)
    await until_renewed(heartbeats, second)
    assert (first.stop.reason, second.stop.reason) == (StopReason.LOST, None)


async def test_without_the_database_a_lease_is_given_up_in_time_and_renewing_goes_on_after(
    heartbeats: Heartbeats,
) -> None:
    # A fifth of the lease is left when it is given up: time for a busy machine to notice.
    heartbeat = heartbeats.start(lease_s=8)
    lease = await heartbeats.claim_clip(heartbeat)
    await until_renewed(heartbeats, lease)
    async with locked(heartbeats.harness.settings):
        started_s = time.monotonic()
        await until(lambda: lease.stop.reason)
        assert time.monotonic() - started_s < 8
    assert lease.stop.reason is StopReason.LOST
    heartbeat.remove(lease)
    await until_renewed(heartbeats, await heartbeats.claim_clip(heartbeat))


async def test_a_short_outage_of_the_database_costs_nothing(heartbeats: Heartbeats) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start(lease_s=10))
    async with locked(heartbeats.harness.settings):
        # Long enough for renewals to fail, and well before the lease is over.
        await asyncio.sleep(1)
    await until_renewed(heartbeats, lease)
    assert lease.stop.reason is None


async def test_a_thread_that_hangs_loses_its_lease_and_then_ends_the_process(heartbeats: Heartbeats) -> None:
    lease = await heartbeats.claim_clip(heartbeats.start(stall_timeout_s=0.3))
    await until(lambda: lease.stop.reason)
    stalled = await heartbeats.task(lease)
    assert (lease.stop.reason, heartbeats.exits) == (StopReason.STALLED, [])
    await until(lambda: heartbeats.exits)
    assert heartbeats.exits[0] == ExitStatus.STALLED
    now = await heartbeats.task(lease)
    assert now.lease_until is not None
    assert stalled.lease_until is not None
    # Not renewed in all that time, so that another worker can have it.
    assert (now.lease_until - stalled.lease_until).total_seconds() < 0.3


async def test_closing_ends_the_thread(heartbeats: Heartbeats) -> None:
    heartbeat = heartbeats.start(heartbeat_s=60)
    started_s = time.monotonic()
    heartbeat.close()
    assert time.monotonic() - started_s < 30
