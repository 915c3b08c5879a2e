"""The thread that keeps leases: against a real database, in good days and bad ones."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from fixtures.database_lock import locked
from fixtures.workplace import OpenWorkplace, Workplace, a_reel
from phoenix.assembly.services import open_database
from phoenix.engine.cancellation import StopReason
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.execution.recovery import recover_from
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.scheduling.workers import WorkerReport
from phoenix.jobs.tables import TaskRow, WorkerRow
from phoenix.worker.child_process import Exit
from phoenix.worker.leases import Lease, LeaseKeeper, LeaseTerms

WORKER = "wrk_01kag3e9zq4f7w5m8x2c6b0n1d"
REPORT = WorkerReport(worker_id=WORKER, host="h", pid=1, device="cpu", slots={"gpu": 1})


class Kept:
    """A keeper at work, and what it did to this process."""

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self.exits: list[int] = []
        self._keepers: list[LeaseKeeper] = []

    def keeper(self, **changes: Any) -> LeaseKeeper:
        terms = LeaseTerms(**{"lease_s": 2, "heartbeat_s": 0.1, "stall_s": 60, **changes})
        opened = partial(open_database, self.workplace.settings)
        keeper = LeaseKeeper(opened, WORKER, terms, lambda: REPORT, end_process=self.exits.append)
        keeper.start()
        self._keepers.append(keeper)
        return keeper

    def close(self) -> None:
        for keeper in self._keepers:
            keeper.close()

    async def hold(self, keeper: LeaseKeeper) -> Lease:
        """A fresh job's clip, claimed."""
        job_id = await self.workplace.submit(a_reel())
        task = (await self.workplace.job(job_id)).tasks[0]
        since_s = time.monotonic()
        async with self.workplace.services.database.write() as uow:
            claimed = await claim(uow, task.id, task.dispatch, worker_id=WORKER, lease_s=keeper.terms.lease_s)
        assert claimed is not None
        return keeper.hold(claimed, since_s=since_s)

    async def task(self, lease: Lease) -> TaskRow:
        async with self.workplace.services.database.read() as session:
            return await session.get_one(TaskRow, lease.claim.task_id)


@pytest.fixture
async def kept(open_place: OpenWorkplace) -> AsyncIterator[Kept]:
    kept = Kept(await open_place(database_busy_s=0.2, has_feeder=False))
    yield kept
    kept.close()


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(100):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)


async def until_renewed(kept: Kept, lease: Lease, times: int = 2) -> None:
    async with asyncio.timeout(100):
        seen = {(await kept.task(lease)).lease_until}
        while len(seen) <= times:
            seen.add((await kept.task(lease)).lease_until)
            await asyncio.sleep(0.02)


async def test_leases_are_renewed_while_the_event_loop_is_blocked(kept: Kept) -> None:
    lease = await kept.hold(kept.keeper())
    before = (await kept.task(lease)).lease_until
    time.sleep(2.5)  # noqa: ASYNC251 - the claim itself: longer than the lease
    after = (await kept.task(lease)).lease_until
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 2
    assert lease.stop.reason is None


async def test_the_worker_is_reported_with_every_beat(kept: Kept) -> None:
    kept.keeper()

    async def seen_at() -> Any:
        async with kept.workplace.services.database.read() as session:
            row = await session.get(WorkerRow, WORKER)
            return row.seen_at if row else None

    async with asyncio.timeout(100):
        seen = {await seen_at()}
        while len(seen) < 3:
            seen.add(await seen_at())
            await asyncio.sleep(0.02)


async def test_a_poke_for_a_task_held_here_does_not_wait_for_the_heartbeat(kept: Kept) -> None:
    keeper = kept.keeper(heartbeat_s=60, lease_s=300)
    lease = await kept.hold(keeper)
    await kept.workplace.cancel(lease.claim.job_id)
    keeper.poke("task_of_another_worker")
    keeper.poke(lease.claim.task_id)
    await until(lambda: lease.stop.reason)
    assert lease.stop.reason is StopReason.CANCEL


async def test_a_lease_that_was_taken_away_is_lost(kept: Kept) -> None:
    lease = await kept.hold(kept.keeper())
    rule = RetryRule.from_settings(kept.workplace.settings.scheduler)
    async with kept.workplace.services.database.write() as uow:
        assert await recover_from(uow, lease.claim.job_id, lease.claim.task_id, WORKER, rule)
    await until(lambda: lease.stop.reason)
    assert lease.stop.reason is StopReason.LOST


async def test_an_earlier_attempt_is_lost_though_the_same_worker_holds_the_next(kept: Kept) -> None:
    keeper = kept.keeper()
    first = await kept.hold(keeper)
    rule = RetryRule.from_settings(kept.workplace.settings.scheduler)
    async with kept.workplace.services.database.write() as uow:
        await recover_from(uow, first.claim.job_id, first.claim.task_id, WORKER, rule)
    task = await kept.task(first)
    async with kept.workplace.services.database.write() as uow:
        claimed = await claim(uow, task.id, task.dispatch, worker_id=WORKER, lease_s=2)
    assert claimed is not None
    second = keeper.hold(claimed, since_s=time.monotonic())
    await until(lambda: first.stop.reason)
    await until_renewed(kept, second)
    assert (first.stop.reason, second.stop.reason) == (StopReason.LOST, None)


async def test_without_the_database_a_lease_is_given_up_in_time_and_renewing_goes_on_after(kept: Kept) -> None:
    keeper = kept.keeper(lease_s=3)
    lease = await kept.hold(keeper)
    await until_renewed(kept, lease)
    async with locked(kept.workplace.settings):
        started_s = time.monotonic()
        await until(lambda: lease.stop.reason)
        assert time.monotonic() - started_s < 3
    assert lease.stop.reason is StopReason.LOST
    keeper.drop(lease)
    await until_renewed(kept, await kept.hold(keeper))


async def test_a_short_outage_of_the_database_costs_nothing(kept: Kept) -> None:
    lease = await kept.hold(kept.keeper(lease_s=10))
    async with locked(kept.workplace.settings):
        await asyncio.sleep(1)
    await until_renewed(kept, lease)
    assert lease.stop.reason is None


async def test_a_thread_that_hangs_loses_its_lease_and_then_ends_the_process(kept: Kept) -> None:
    lease = await kept.hold(kept.keeper(stall_s=0.3, lease_s=0.8))
    await until(lambda: lease.stop.reason)
    stalled = await kept.task(lease)
    assert (lease.stop.reason, kept.exits) == (StopReason.STALLED, [])
    await until(lambda: kept.exits)
    assert kept.exits[0] == Exit.STALLED
    now = await kept.task(lease)
    assert now.lease_until is not None
    assert stalled.lease_until is not None
    # Not renewed in all that time, so that another worker can have it.
    assert (now.lease_until - stalled.lease_until).total_seconds() < 0.3


async def test_closing_ends_the_thread(kept: Kept) -> None:
    keeper = kept.keeper(heartbeat_s=60)
    started_s = time.monotonic()
    keeper.close()
    assert time.monotonic() - started_s < 30
