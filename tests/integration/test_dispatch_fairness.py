"""How long one owner waits for another: dispatch, claim and finish, step by step, on one slot."""

from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from builders import LEASE_S, make_result, submit_reel
from phoenix.db.unit_of_work import Database
from phoenix.jobs.execution.claim import Claim, claim
from phoenix.jobs.execution.task_completion import succeed
from phoenix.jobs.scheduling.dispatch import DEFAULT_COST_S, mark_dispatched, plan_dispatch, undispatch
from phoenix.jobs.scheduling.fair_queue import ReadyTask
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import AttemptRow
from phoenix.queues.in_memory import MemoryTaskQueue
from phoenix.queues.queue import DispatchMessage

WORKER = WorkerReport("wrk_1", "host", 1, "cpu", slots={"gpu": 1}, serves=("animatic",))
REEL = [f"clip {number}" for number in range(500)]


def messages(tasks: list[ReadyTask]) -> list[DispatchMessage]:
    return [DispatchMessage(task.task_id, task.dispatch_seq) for task in tasks]


async def idle_for(database: Database, seconds: float) -> None:
    """No key has had any service for so long."""
    async with database.write() as uow:
        for attempt in await uow.session.scalars(select(AttemptRow)):
            assert attempt.ended_at
            attempt.started_at -= timedelta(seconds=seconds)
            attempt.ended_at -= timedelta(seconds=seconds)


class Fleet:
    """One worker with one slot, and a dispatcher that looks after every change, as the real one is rung to do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queue = MemoryTaskQueue()

    async def start(self) -> None:
        async with self._database.write() as uow:
            await record_heartbeat(uow, WORKER, lease_s=3600)

    async def feed(self) -> None:
        async with self._database.read() as session:
            plan = await plan_dispatch(session, "gpu", prefetch_multiplier=2)
        await self.queue.revoke("gpu", messages(list(plan.revoke)))
        await self.queue.enqueue("gpu", messages(list(plan.enqueue)))
        async with self._database.write() as uow:
            await mark_dispatched(uow, plan.enqueue)
            await undispatch(uow, plan.undispatch)

    async def begin(self) -> Claim:
        await self.feed()
        while message := self.queue.take("gpu"):
            async with self._database.write() as uow:
                taken = await claim(uow, message.task_id, message.dispatch_seq, worker_id="wrk_1", lease_s=LEASE_S)
            if taken is not None:
                await self.feed()
                return taken
        raise AssertionError("nothing to do")

    async def end(self, taken: Claim, *, took_s: float = DEFAULT_COST_S) -> None:
        """The clip has taken exactly so long, whatever the machine takes here: its key is charged with that."""
        of_task = select(AttemptRow).where(col(AttemptRow.task_id) == taken.task_id)
        async with self._database.write() as uow:
            await succeed(uow, taken, make_result(f"{taken.task_id}/{taken.attempt}"))
        async with self._database.write() as uow:
            for attempt in await uow.session.scalars(of_task):
                assert attempt.ended_at
                attempt.started_at = attempt.ended_at - timedelta(seconds=took_s)
        await self.feed()


async def test_a_reel_of_500_clips_delays_another_owner_by_the_clip_that_runs(database: Database) -> None:
    fleet = Fleet(database)
    await fleet.start()
    await submit_reel(database, *REEL, owner_id="key_dump")
    running = await fleet.begin()
    small = await submit_reel(database, "one", owner_id="key_small")
    await fleet.feed()

    await fleet.end(running)

    assert (await fleet.begin()).job_id == small


async def test_a_key_whose_clips_come_one_by_one_waits_for_one_of_the_others_each_time(database: Database) -> None:
    fleet = Fleet(database)
    await fleet.start()
    await submit_reel(database, *REEL[:20], owner_id="key_dump")
    running = await fleet.begin()
    overtaken: list[int] = []
    dump = running.job_id
    for _ in range(3):
        small = await submit_reel(database, "one", owner_id="key_small")
        await fleet.feed()
        others = 0
        while running.job_id != small:
            # Well apart: the order of two keys with nearly the same usage depends on how slow the machine is.
            await fleet.end(running, took_s=DEFAULT_COST_S if running.job_id == dump else DEFAULT_COST_S * 1.25)
            running = await fleet.begin()
            others += running.job_id != small
        overtaken.append(others)

    assert max(overtaken) <= 1


async def test_a_reel_that_is_half_done_waits_for_no_more_newcomers_than_a_quarter_of_its_service_takes(
    database: Database,
) -> None:
    fleet = Fleet(database)
    await fleet.start()
    old = await submit_reel(database, "one", "two", owner_id="key_old")
    await fleet.end(await fleet.begin())
    await submit_reel(database, "one", owner_id="key_new")
    await idle_for(database, DEFAULT_COST_S / 4)

    assert (await fleet.begin()).job_id == old


async def test_there_are_never_more_messages_than_the_prefetch_limit(database: Database) -> None:
    fleet = Fleet(database)
    await fleet.start()
    await submit_reel(database, *REEL[:5], owner_id="key_dump")
    await fleet.begin()
    for number in range(5):
        await submit_reel(database, "one", owner_id=f"key_{number}")
        await fleet.feed()

    assert len(fleet.queue.waiting("gpu")) == 2
