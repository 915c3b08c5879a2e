"""The dispatcher and the lease reaper of running replicas, with a real Redis that is emptied, stopped and frozen."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError
from sqlmodel import col

from builders import claim_next, get_job, make_result, submit_reel
from fixtures.api import Api, open_api, until
from fixtures.redis_server import RedisServer
from phoenix.api.background.dispatcher import Dispatcher
from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.contract import JobState
from phoenix.db.unit_of_work import Database
from phoenix.errors import Unavailable
from phoenix.jobs.execution.claim import claim
from phoenix.jobs.execution.task_completion import succeed
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.dispatch import list_ready
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.jobs.tables import TaskRow, WorkerRow
from phoenix.queues.in_memory import MemoryTaskQueue
from phoenix.queues.queue import DispatchMessage
from phoenix.settings import Settings


def with_schedule(settings: Settings, **changes: float) -> Settings:
    return settings.model_copy(update={"scheduler": settings.scheduler.model_copy(update=changes)})


async def is_dispatched(api: Api, job_id: str, position: int = 0) -> bool:
    """Whether a task is recorded as dispatched and its message is in Redis."""
    task = (await get_job(api.services.database, job_id)).tasks[position]
    message = DispatchMessage(task.id, task.dispatch_seq)
    return task.dispatched_at is not None and not await api.services.queue.find_missing(task.queue, [message])


@pytest.fixture
def api(leading_api: Api) -> Api:
    return leading_api


@pytest.fixture
def only_by_notification(api_settings: Settings) -> Settings:
    """With an interval so long that only a notification can wake the dispatcher in time."""
    return with_schedule(api_settings, dispatch_interval_s=600)


async def test_a_job_is_dispatched_as_soon_as_it_is_accepted(only_by_notification: Settings) -> None:
    async with open_api(only_by_notification) as api:
        await api.register_worker()

        job = await api.submit()

        await until(lambda: is_dispatched(api, job["id"]))


async def test_the_next_task_is_dispatched_as_soon_as_one_ends(only_by_notification: Settings) -> None:
    async with open_api(only_by_notification) as api:
        await api.register_worker()
        job = await api.submit()
        await until(lambda: is_dispatched(api, job["id"]))

        task = (await get_job(api.services.database, job["id"])).tasks[0]
        async with api.services.database.write() as uow:
            claimed = await claim(uow, task.id, task.dispatch_seq, worker_id="wrk_1", lease_s=60)
        assert claimed is not None
        async with api.services.database.write() as uow:
            await succeed(uow, claimed, make_result())

        await until(lambda: is_dispatched(api, job["id"], position=1))


async def test_no_more_is_dispatched_than_the_workers_can_soon_take(api: Api) -> None:
    await api.register_worker(slots=1)
    job = await api.submit("a", "b", "c", "d")
    await until(lambda: is_dispatched(api, job["id"], position=1))

    async with api.services.database.read() as session:
        assert len(await list_ready(session, "gpu")) == 2


async def test_work_waits_in_sql_until_a_worker_comes(only_by_notification: Settings) -> None:
    async with open_api(only_by_notification) as api:
        job = await api.submit()
        assert (await get_job(api.services.database, job["id"])).tasks[0].dispatched_at is None

        await api.register_worker()

        await until(lambda: is_dispatched(api, job["id"]))


async def test_what_one_replica_accepts_is_dispatched_by_the_one_on_duty(only_by_notification: Settings) -> None:
    async with open_api(only_by_notification) as leader, open_api(only_by_notification) as other:
        await leader.register_worker(slots=9)
        first = await leader.submit()
        await until(lambda: is_dispatched(leader, first["id"]))

        second = await other.submit()

        await until(lambda: is_dispatched(other, second["id"]))


async def test_another_replica_takes_over_from_one_that_leaves(api_settings: Settings) -> None:
    async with open_api(api_settings) as staying:
        async with open_api(api_settings) as leaving:
            await leaving.register_worker(slots=9)
        job = await staying.submit()

        await until(lambda: is_dispatched(staying, job["id"]))


async def test_a_wiped_redis_is_dispatched_anew(api: Api, redis_server: RedisServer) -> None:
    await api.register_worker()
    job = await api.submit()
    await until(lambda: is_dispatched(api, job["id"]))

    await api.services.redis.flushall()

    await until(lambda: is_dispatched(api, job["id"]))


async def test_a_message_that_got_lost_is_dispatched_anew(api_settings: Settings) -> None:
    async with open_api(with_schedule(api_settings, dispatch_check_s=0.2, dispatch_interval_s=0.1)) as api:
        await api.register_worker()
        job = await api.submit()
        await until(lambda: is_dispatched(api, job["id"]))
        queue_key = f"{api.services.settings.redis.prefix}:queue:gpu"

        assert await api.services.redis.delete(queue_key) == 1

        await until(lambda: is_dispatched(api, job["id"]))


async def test_the_dispatcher_survives_an_outage_of_redis(api: Api, redis_server: RedisServer) -> None:
    await api.register_worker()
    redis_server.kill()
    job = await api.submit()

    redis_server.start()

    await until(lambda: is_dispatched(api, job["id"]))


async def test_a_task_whose_worker_fell_silent_is_dispatched_for_another(api: Api) -> None:
    await api.register_worker()
    job = await api.submit()
    await until(lambda: is_dispatched(api, job["id"]))
    task = (await get_job(api.services.database, job["id"])).tasks[0]
    async with api.services.database.write() as uow:
        assert await claim(uow, task.id, task.dispatch_seq, worker_id="wrk_1", lease_s=0.05)

    async def is_recovered() -> bool:
        again = (await get_job(api.services.database, job["id"])).tasks[0]
        return (again.state, again.crashes) == (TaskState.READY, 1)

    await until(is_recovered)
    await until(lambda: is_dispatched(api, job["id"]))


async def test_a_job_that_waited_too_long_expires(api: Api) -> None:
    job = await api.submit(queue_timeout_s=0.01)

    async def is_expired() -> bool:
        return (await api.show(job["id"]))["state"] == "expired"

    await until(is_expired)
    assert (await api.show(job["id"]))["error"]["code"] == "TIMEOUT"


async def test_a_job_that_ran_too_long_fails_once_its_worker_let_go(api: Api) -> None:
    job = await api.submit(run_timeout_s=0.01)
    await claim_next(api.services.database)

    async def is_ending() -> bool:
        return (await get_job(api.services.database, job["id"])).row.ending is JobState.FAILED

    await until(is_ending)


async def test_a_worker_that_fell_silent_is_forgotten(api_settings: Settings) -> None:
    async with open_api(api_settings) as api:
        await api.register_worker(lease_s=0.1)

        async def is_forgotten() -> bool:
            async with api.services.database.read() as session:
                return not (await session.scalars(select(WorkerRow))).all()

        await until(is_forgotten)


class CheckingQueue(MemoryTaskQueue):
    """Notes at each message which tasks the database has as dispatched."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.recorded: dict[str, list[str]] = {}

    async def enqueue(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        await super().enqueue(queue, messages)
        async with self._database.read() as session:
            dispatched = select(col(TaskRow.queue)).where(col(TaskRow.dispatched_at).is_not(None))
            self.recorded[queue] = list(await session.scalars(dispatched))


async def test_no_record_delays_the_claims_of_what_a_pass_dispatches(database: Database) -> None:
    # On SQLite a write of the dispatcher and the claim of a worker wait for each other.
    async with database.write() as uow:
        await record_heartbeat(uow, WorkerReport("wrk_1", "host", 1, "cpu", {"gpu": 1, "media": 1}), lease_s=60)
    job_id = await submit_reel(database, soundtrack={"url": "https://example.com/a.mp3"})
    queue = CheckingQueue(database)

    await Dispatcher(database, queue, Settings()).dispatch()

    assert queue.recorded == {"gpu": [], "media": []}
    tasks = (await get_job(database, job_id)).tasks
    assert {task.queue for task in tasks if task.dispatched_at is not None} == {"gpu", "media"}


async def test_one_replica_holds_a_leader_lease_until_it_releases_it(database: Database) -> None:
    ours, theirs = LeaderLease(database, "dispatcher", lease_s=60), LeaderLease(database, "dispatcher", lease_s=0)

    taken = (await ours.try_acquire_or_renew(), await theirs.try_acquire_or_renew())
    await ours.release()

    assert taken == (True, False)
    assert await theirs.try_acquire_or_renew()


async def test_a_held_leader_lease_is_not_renewed_at_every_check(database: Database) -> None:
    now_s = 0.0
    ours = LeaderLease(database, "dispatcher", lease_s=3, clock_s=lambda: now_s)
    assert await ours.try_acquire_or_renew()
    await database.close()
    async with database.write() as uow:
        connection = await uow.session.connection()
        await connection.exec_driver_sql("DROP TABLE leader_leases")

    now_s = 0.9
    assert await ours.try_acquire_or_renew()
    now_s = 1.0
    with pytest.raises((Unavailable, ProgrammingError)):
        await ours.try_acquire_or_renew()


async def test_a_background_service_recovers_from_errors_and_logs_them_once(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = 0
    done = asyncio.Event()

    async def once() -> None:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise Unavailable("Redis is away.")
        done.set()

    async def pause() -> None:
        await asyncio.Event().wait()

    async with leader_loop(LeaderLease(database, "dispatcher"), once, pause):
        await asyncio.wait_for(done.wait(), 100)

    said = capfd.readouterr().out
    assert said.count("background service stalled") == 1
    assert said.count("background service recovered") == 1
