"""What a stream starts with is one state of the database, even if an event is committed while it is read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import event
from sqlalchemy.util import await_only

from builders import OWNER, claim_next, submit_reel
from fixtures.event_streams import TIMEOUT_S, Frame
from fixtures.stream_fleet import Seen
from phoenix.contract import ClipState
from phoenix.db.unit_of_work import Database
from phoenix.events.fanout.hub import Hub
from phoenix.events.log_interface import CoalescingEventLog
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.events.pubsub.subscriber import PubSubSubscriber
from phoenix.events.sse.snapshot_and_replay import owner_stream
from phoenix.jobs.event_log.reader import SqlEventLog
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.settings import EventSettings


@contextmanager
def after_first_read(database: Database, commit: Callable[[], Awaitable[object]]) -> Iterator[list[str]]:
    """Calls `commit` after the first statement that reads a job or an owner. Yields that statement, once it has run."""
    engine, read = database.engine.sync_engine, list[str]()

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not read and statement.startswith("SELECT") and ("FROM jobs" in statement or "FROM owners" in statement):
            read.append(statement)
            # The engine runs this hook in a greenlet, in which `await` itself is not possible.
            await_only(commit())

    event.listen(engine, "after_cursor_execute", interrupt)
    try:
        yield read
    finally:
        event.remove(engine, "after_cursor_execute", interrupt)


async def no_progress(job_ids: Collection[str]) -> dict[str, ProgressSnapshot]:
    return dict.fromkeys(job_ids, NO_PROGRESS)


@pytest.fixture
def log(database: Database) -> CoalescingEventLog:
    return CoalescingEventLog(SqlEventLog(database, no_progress, QueuePositions(database)))


@pytest.fixture
async def hub(redis_client: Redis, log: CoalescingEventLog) -> AsyncIterator[Hub]:
    settings = EventSettings(heartbeat_s=3600)
    async with (
        PubSubSubscriber(redis_client, silence_s=3600, ack_timeout_s=3600) as subscriber,
        Hub(subscriber, log, prefix="test", settings=settings) as hub,
    ):
        yield hub


async def read_until(stream: AsyncGenerator[bytes], seen: Seen, is_enough: Callable[[Frame], bool]) -> None:
    """One connection, which is cut after the first frame that is enough."""
    async with aclosing(stream), asyncio.timeout(TIMEOUT_S):
        async for chunk in stream:
            for block in chunk.decode().split("\n\n")[:-1]:
                seen.record(frame := Frame.parse(block))
                if is_enough(frame):
                    return


def is_cursor(frame: Frame) -> bool:
    return frame.id is not None and frame.event is None


@pytest.mark.parametrize(("is_new", "numbers"), [(False, [1, 2, 3]), (True, [1])], ids=["claimed", "submitted"])
async def test_a_client_that_is_cut_off_after_the_cursor_gets_each_event_once(
    database: Database, log: CoalescingEventLog, hub: Hub, is_new: bool, numbers: list[int]
) -> None:
    jobs, seen = [await submit_reel(database)], Seen()

    async def commit() -> None:
        if is_new:
            jobs.append(await submit_reel(database))
        else:
            await claim_next(database)

    with after_first_read(database, commit) as interrupted:
        await read_until(owner_stream(hub, log, OWNER, None), seen, is_cursor)
    last = await submit_reel(database)
    await read_until(owner_stream(hub, log, OWNER, seen.last_id), seen, lambda frame: frame.data.get("job_id") == last)

    assert interrupted
    assert seen.seqs[jobs[-1]] == numbers


async def test_the_number_and_the_clips_of_a_snapshot_are_of_one_state(
    database: Database, log: CoalescingEventLog
) -> None:
    job_id = await submit_reel(database)

    with after_first_read(database, lambda: claim_next(database)) as interrupted:
        before = await log.snapshot(job_id)
    after = await log.snapshot(job_id)

    assert interrupted
    assert (before.seq, before.job.clips[0].state) == (1, ClipState.QUEUED)
    assert (after.seq, after.job.clips[0].state) == (3, ClipState.RUNNING)
