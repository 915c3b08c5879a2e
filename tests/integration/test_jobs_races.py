"""Two transactions at once: exactly one wins, and none is killed by a deadlock; on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import select, update
from sqlmodel import col

from builders import LEASE_S, OWNER, RULE, claim_next, get_job, make_result, submit_reel
from faults.checker import check_always, check_ended
from faults.history import read_history
from phoenix.contract import JobState
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database, UnitOfWork
from phoenix.errors import Conflict, NotFound, QueueFull, RequestError
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.execution.claim import Claim, claim, renew_leases
from phoenix.jobs.execution.recovery import recover_expired_lease
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import stop, succeed
from phoenix.jobs.lifecycle import LeaseLost, TaskState
from phoenix.jobs.post_commit import FilesOrphaned
from phoenix.jobs.retention import delete_job
from phoenix.jobs.scheduling.dispatch import list_dispatched, list_ready, mark_dispatched, undispatch
from phoenix.jobs.tables import TaskRow
from phoenix.settings import LimitSettings

ROUNDS = 10
PATIENT = RetryRule(max_failures=3, max_crashes=1000, first_delay_s=0)
Answer = TypeVar("Answer")


async def write(database: Database, use: Callable[[UnitOfWork], Awaitable[Answer]]) -> Answer | Exception:
    """The answer of one transaction, or the error with which the domain refused it."""
    try:
        async with database.write() as uow:
            return await use(uow)
    except (LeaseLost, Conflict, NotFound, QueueFull) as error:
        return error


async def race(database: Database, *uses: Callable[[UnitOfWork], Awaitable[object]]) -> list[object]:
    """All at once. Anything that is not a refusal of the domain, such as a deadlock, fails the test."""
    return await asyncio.gather(*(write(database, use) for use in uses))


def succeeding(held: Claim) -> Callable[[UnitOfWork], Awaitable[None]]:
    key = f"jobs/{held.job_id}/{held.task_id}/{held.attempt}/clip.mp4"
    return partial(succeed, claim=held, output=make_result(key))


def renewing(task_ids: list[str], worker_id: str = "wrk_1") -> Callable[[UnitOfWork], Awaitable[object]]:
    return partial(renew_leases, worker_id=worker_id, task_ids=task_ids, lease_s=LEASE_S)


async def nothing_is_broken(database: Database, *, is_settled: bool = False) -> None:
    history = await read_history(database, frozenset())
    assert (check_ended if is_settled else check_always)(history) == []


async def test_of_a_claim_and_a_cancel_one_comes_first(database: Database) -> None:
    for _ in range(ROUNDS):
        job_id = await submit_reel(database)
        async with database.read() as session:
            (waiting,) = await list_ready(session, "gpu")

        claimed, _ = await race(
            database,
            partial(
                claim, task_id=waiting.task_id, dispatch_seq=waiting.dispatch_seq, worker_id="wrk_1", lease_s=LEASE_S
            ),
            partial(cancel, job_id=job_id, owner_id=OWNER),
        )

        job = (await get_job(database, job_id)).row
        assert (job.state, job.ending) == (
            (JobState.RUNNING, JobState.CANCELED) if claimed else (JobState.CANCELED, None)
        )
        await nothing_is_broken(database)


async def test_of_a_result_and_a_recovery_one_comes_first(database: Database) -> None:
    for _ in range(ROUNDS):
        job_id = await submit_reel(database)
        held = await claim_next(database)
        await let_lapse(database, held.task_id)

        finished, recovered = await race(
            database,
            succeeding(held),
            partial(recover_expired_lease, job_id=job_id, task_id=held.task_id, rule=RULE),
        )

        assert isinstance(finished, LeaseLost) == (recovered is True)
        await nothing_is_broken(database)
        await write(database, partial(cancel, job_id=job_id, owner_id=OWNER))


async def test_of_many_reapers_one_takes_an_expired_lease(database: Database) -> None:
    for _ in range(ROUNDS):
        job_id = await submit_reel(database)
        held = await claim_next(database)
        await let_lapse(database, held.task_id)

        recovered = await race(
            database, *[partial(recover_expired_lease, job_id=job_id, task_id=held.task_id, rule=RULE)] * 4
        )

        assert sorted(map(bool, recovered)) == [False, False, False, True]
        assert (await get_job(database, job_id)).tasks[0].crashes == 1
        await write(database, partial(cancel, job_id=job_id, owner_id=OWNER))


async def test_two_clips_that_end_at_once_are_put_together_once(database: Database) -> None:
    for _ in range(2 * ROUNDS):
        await submit_reel(database, "one", "two")
        first, second = await claim_next(database), await claim_next(database)

        await race(
            database,
            succeeding(first),
            succeeding(second),
        )

        await complete_assembly(database)
    await nothing_is_broken(database, is_settled=True)


async def test_of_a_retry_and_a_deletion_one_comes_first(database: Database) -> None:
    for _ in range(ROUNDS):
        job_id = await submit_reel(database)
        await write(database, partial(cancel, job_id=job_id, owner_id=OWNER))

        retried, deleted = await race(
            database,
            partial(retry, job_id=job_id, owner_id=OWNER, queue_timeout_s=60),
            partial(delete_job, job_id=job_id, owner_id=OWNER),
        )

        assert isinstance(retried, NotFound) != isinstance(deleted, Conflict)
        await nothing_is_broken(database)


async def test_of_many_submits_at_the_bound_of_the_queue_one_is_accepted(database: Database) -> None:
    limits = LimitSettings(max_queued_jobs=3)
    for _ in range(2):
        await submit_reel(database, limits=limits)

    async def submit_one() -> str | RequestError:
        try:
            return await submit_reel(database, limits=limits)
        except QueueFull as error:
            return error

    answers = await asyncio.gather(*(submit_one() for _ in range(6)))

    assert sum(isinstance(answer, str) for answer in answers) == 1


async def test_heartbeats_and_a_cancel_of_a_wide_reel_do_not_deadlock(database: Database) -> None:
    for _ in range(ROUNDS):
        job_id = await submit_reel(database, *"abcdefghijkl")
        claims = [await claim_next(database) for _ in range(12)]
        task_ids = [held.task_id for held in claims]

        await race(
            database,
            renewing(task_ids),
            partial(cancel, job_id=job_id, owner_id=OWNER),
            renewing(task_ids[::-1]),
            *map(succeeding, claims[:3]),
        )
        await race(database, *[partial(stop, claim=held) for held in claims])

        assert (await get_job(database, job_id)).row.state is JobState.CANCELED
    await nothing_is_broken(database, is_settled=True)


async def test_a_dispatcher_and_a_cancel_of_a_wide_reel_do_not_deadlock(database: Database) -> None:
    for _ in range(ROUNDS):
        job_id = await submit_reel(database, *"abcdefghijkl")
        async with database.read() as session:
            waiting = await list_ready(session, "gpu")
        assert len(waiting) == 12

        await race(
            database,
            partial(mark_dispatched, tasks=waiting),
            partial(mark_dispatched, tasks=waiting[::-1]),
            partial(cancel, job_id=job_id, owner_id=OWNER),
        )

    await nothing_is_broken(database, is_settled=True)


async def test_two_repairs_of_lost_messages_do_not_deadlock(database: Database) -> None:
    await submit_reel(database, *"abcdefghijkl")
    for _ in range(ROUNDS):
        async with database.read() as session:
            waiting = await list_ready(session, "gpu")
        await write(database, partial(mark_dispatched, tasks=waiting))
        async with database.read() as session:
            lost = await list_dispatched(session, "gpu", older_than_s=-1)
        assert len(lost) == len(waiting) == 12

        await race(database, partial(undispatch, tasks=lost), partial(undispatch, tasks=lost[::-1]))


async def test_many_workers_render_everything_once(database: Database) -> None:
    """Five workers, their heartbeats and two lease reapers, over leases that lapse at any time."""
    accepted = [await submit_reel(database, *"abc") for _ in range(6)]
    is_done = asyncio.Event()

    async def keep_reaping() -> None:
        while not is_done.is_set():
            async with database.read() as session:
                running = await session.execute(
                    select(col(TaskRow.job_id), col(TaskRow.id)).where(col(TaskRow.state) == TaskState.RUNNING)
                )
                found = [tuple(row) for row in running]
            for job_id, task_id in found[:1]:
                await let_lapse(database, task_id)
                await write(database, partial(recover_expired_lease, job_id=job_id, task_id=task_id, rule=PATIENT))
            await asyncio.sleep(0.02)

    async def work(worker_id: str) -> None:
        while tasks := await ready(database):
            for task in tasks:
                held = await write(
                    database,
                    partial(
                        claim, task_id=task.id, dispatch_seq=task.dispatch_seq, worker_id=worker_id, lease_s=LEASE_S
                    ),
                )
                if held is not None:
                    await write(
                        database,
                        renewing([task.id], worker_id),
                    )
                    await write(
                        database,
                        succeeding(held),
                    )

    reapers = [asyncio.create_task(keep_reaping()) for _ in range(2)]
    await asyncio.gather(*(work(f"wrk_{number}") for number in range(5)))
    is_done.set()
    await asyncio.gather(*reapers)
    await work("wrk_last")

    history = await read_history(database, frozenset(accepted))
    assert check_ended(history) == []
    assert {job.state for job in history.jobs} == {JobState.SUCCEEDED}


async def test_a_result_that_comes_after_the_cancel_is_not_published(
    database: Database, published_events: list[object]
) -> None:
    job_id = await submit_reel(database)
    await write(database, succeeding(await claim_next(database)))
    assembling = await claim_next(database, "media")
    await write(database, partial(cancel, job_id=job_id, owner_id=OWNER))

    await write(database, succeeding(assembling))

    assert (await get_job(database, job_id)).row.state is JobState.CANCELED
    assert any(isinstance(said, FilesOrphaned) for said in published_events)
    await write(database, partial(retry, job_id=job_id, owner_id=OWNER, queue_timeout_s=60))
    await complete_assembly(database)
    assert (await get_job(database, job_id)).row.state is JobState.SUCCEEDED


async def test_a_stop_that_was_meant_for_an_earlier_attempt_hands_the_task_back(database: Database) -> None:
    job_id = await submit_reel(database)

    await write(database, partial(stop, claim=await claim_next(database)))

    assert (await get_job(database, job_id)).tasks[0].state is TaskState.READY


async def ready(database: Database) -> list[TaskRow]:
    async with database.read() as session:
        states = (TaskState.READY, TaskState.RUNNING)
        rows = (await session.scalars(select(TaskRow).where(col(TaskRow.state).in_(states)))).all()
    return list(rows)


async def complete_assembly(database: Database) -> None:
    held = await claim_next(database, "media")
    assert await write(database, succeeding(held)) is None


async def let_lapse(database: Database, task_id: str) -> None:
    async with database.write() as uow:
        await uow.session.execute(update(TaskRow).where(col(TaskRow.id) == task_id).values(lease_until=db_now(-1)))
