"""Which tasks are dispatched, and in which order; on both databases."""

from sqlalchemy import update
from sqlmodel import col

from builders import OWNER, claim_next, complete_next, get_job, submit_reel
from phoenix.contract import JobOptions, WaitingCode, WaitingReason
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.jobs.scheduling.dispatch import list_dispatched, mark_dispatched, plan_dispatch, undispatch
from phoenix.jobs.scheduling.fair_queue import ReadyTask
from phoenix.jobs.scheduling.leader_lease import acquire_leader_lease, release_leader_lease
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.scheduling.queue_snapshots import read_queue_snapshot
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import TaskRow

WORKER = WorkerReport("wrk_1", "host", 1, "cpu", slots={"gpu": 1}, serves=("animatic",))


async def start_worker(database: Database, slots: int = 1) -> None:
    async with database.write() as uow:
        await record_heartbeat(
            uow, WorkerReport("wrk_1", "host", 1, "cpu", slots={"gpu": slots}, serves=("animatic",)), lease_s=600
        )


async def choose(database: Database, prefetch_multiplier: float = 2) -> list[ReadyTask]:
    async with database.read() as session:
        plan = await plan_dispatch(session, "gpu", prefetch_multiplier=prefetch_multiplier)
    return list(plan.enqueue)


async def feed(database: Database) -> list[ReadyTask]:
    chosen = await choose(database)
    async with database.write() as uow:
        await mark_dispatched(uow, chosen)
    return chosen


async def test_nothing_is_dispatched_while_no_worker_is_live(database: Database) -> None:
    await submit_reel(database)

    assert await choose(database) == []


async def test_twice_the_free_slots_are_dispatched_and_the_rest_waits_in_sql(database: Database) -> None:
    await start_worker(database, slots=2)
    await submit_reel(database, *"abcdefgh")

    assert len(await feed(database)) == 4
    assert await feed(database) == []


async def test_a_claimed_task_lets_the_next_one_be_dispatched(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database, *"abcd")
    first = await feed(database)
    async with database.write() as uow:
        await uow.session.execute(update(TaskRow).where(col(TaskRow.id) == first[0].task_id).values(state="running"))

    assert [task.position for task in await feed(database)] == [2]


async def test_owners_take_turns(database: Database) -> None:
    await start_worker(database, slots=2)
    await submit_reel(database, *"abcdef", owner_id="key_dump")
    await submit_reel(database, "one", owner_id="key_small")

    owners = [task.owner_id for task in await choose(database)]

    assert owners[:2] == ["key_dump", "key_small"]


async def test_a_high_priority_goes_first_within_an_owner(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database, *"ab")
    urgent = await submit_reel(database, "now", options=JobOptions(priority="high"))

    assert (await choose(database))[0].job_id == urgent


async def test_a_lost_message_is_dispatched_again(database: Database) -> None:
    await start_worker(database)
    await submit_reel(database)
    (dispatched,) = await feed(database)
    async with database.read() as session:
        lost = await list_dispatched(session, "gpu", older_than_s=-1)

    async with database.write() as uow:
        await undispatch(uow, lost)

    assert [task.task_id for task in await feed(database)] == [dispatched.task_id]


async def test_a_task_in_back_off_is_not_dispatched(database: Database) -> None:
    await start_worker(database)
    job_id = await submit_reel(database)
    async with database.write() as uow:
        await uow.session.execute(update(TaskRow).where(col(TaskRow.job_id) == job_id).values(eligible_at=db_now(60)))

    assert await choose(database) == []


async def test_the_queue_position_counts_the_jobs_that_start_earlier(database: Database) -> None:
    await start_worker(database)
    for _ in range(3):
        last = await submit_reel(database, "a", "b")
    job = await get_job(database, last)

    position = (await QueuePositions(database).find([job]))[last]

    assert position.queue_position == 2
    assert position.waiting_reason == WaitingReason(code=WaitingCode.AHEAD, detail="2 jobs will start before this one.")


async def test_usage_counts_against_an_owner(database: Database) -> None:
    await submit_reel(database, "a", owner_id="key_a")
    await complete_next(database)
    await submit_reel(database, "a", owner_id=OWNER)
    await claim_next(database)
    await start_worker(database)
    await submit_reel(database, "b", owner_id="key_new")

    assert [task.owner_id for task in await choose(database)] == ["key_new"]


async def test_a_leader_lease_is_held_by_one_process_at_a_time(database: Database) -> None:
    async def take(holder: str) -> bool:
        async with database.write() as uow:
            return await acquire_leader_lease(uow, "feed", leader_id=holder, lease_s=10)

    assert [await take("a"), await take("b"), await take("a")] == [True, False, True]

    async with database.write() as uow:
        await release_leader_lease(uow, "feed", leader_id="a")
    assert await take("b")


async def test_a_job_that_came_after_the_snapshot_gets_its_position(database: Database) -> None:
    await start_worker(database)
    for _ in range(3):
        await submit_reel(database)
    async with database.read() as session:
        snapshot = await read_queue_snapshot(session, "gpu", with_in_flight=False)
    late = await get_job(database, await submit_reel(database, "a", "b"))
    of_another = await get_job(database, await submit_reel(database, owner_id="key_small"))

    assert [snapshot.find_work_ahead(job.row, job.tasks[0]).jobs_ahead for job in (late, of_another)] == [3, 1]
