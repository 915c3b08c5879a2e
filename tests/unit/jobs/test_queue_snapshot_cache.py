"""How long a queue snapshot is cached, and which callers share it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count

import pytest

from phoenix.jobs.scheduling.durations import NO_DURATIONS
from phoenix.jobs.scheduling.fair_queue import InsertionIndex, ReadyTask
from phoenix.jobs.scheduling.queue_snapshots import QueueSnapshot, QueueSnapshotCache
from phoenix.jobs.scheduling.workers import QueueWorkers

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_snapshot(length: int) -> QueueSnapshot:
    tasks = [ReadyTask(f"tsk_{n}", 1, "key_a", f"job_{n}", 0, "normal", START, 60.0) for n in range(length)]
    return QueueSnapshot("gpu", InsertionIndex(tasks, {}), 0, 0.0, QueueWorkers(slots=1), NO_DURATIONS, {}, START)


class Reader:
    """Stands for the database: each read waits until it is let go."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.reads = 0
        self.has_begun = asyncio.Event()
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def read(self, _queue: str) -> QueueSnapshot:
        self.reads += 1
        self.began.set()
        self.has_begun.set()
        await self.go.wait()
        return make_snapshot(self.length)


def milliseconds() -> Callable[[], float]:
    """A clock that is a millisecond later each time."""
    return partial(next, count(0, 0.001))


async def ask_around_a_commit(length: int) -> int:
    """How often the queue is read for two callers, with a commit of this process between them."""
    reader = Reader(length)
    snapshots = QueueSnapshotCache(reader.read, clock_s=milliseconds())
    reader.go.set()
    await snapshots.get_snapshot("gpu")
    snapshots.record_commit()
    await snapshots.get_snapshot("gpu")
    return reader.reads


async def test_one_read_serves_the_callers_of_a_moment() -> None:
    reader = Reader(3)
    snapshots = QueueSnapshotCache(reader.read, clock_s=milliseconds())
    reader.go.set()
    for _ in range(3):
        await snapshots.get_snapshot("gpu")

    assert reader.reads == 1


async def test_a_short_queue_is_read_again_after_a_commit_of_this_process() -> None:
    assert await ask_around_a_commit(3) == 2


async def test_a_long_queue_is_not_read_for_each_commit() -> None:
    assert await ask_around_a_commit(200) == 1


async def test_callers_that_come_during_a_read_that_a_commit_made_old_share_the_next_read() -> None:
    reader = Reader(3)
    snapshots = QueueSnapshotCache(reader.read)
    first = asyncio.create_task(snapshots.get_snapshot("gpu"))
    await reader.has_begun.wait()
    snapshots.record_commit()
    others = [asyncio.create_task(snapshots.get_snapshot("gpu")) for _ in range(10)]
    # All of them ask before the first read ends.
    await asyncio.sleep(0)
    reader.go.set()
    await asyncio.gather(first, *others)

    assert reader.reads == 2


async def test_the_snapshot_of_a_long_queue_serves_callers_that_came_during_the_read() -> None:
    reader = Reader(200)
    snapshots = QueueSnapshotCache(reader.read)
    asking = [asyncio.create_task(snapshots.get_snapshot("gpu")) for _ in range(10)]
    await asyncio.sleep(0)
    reader.go.set()
    answers = await asyncio.gather(*asking)

    assert reader.reads <= 2
    assert all(len(snapshot) == 200 for snapshot in answers)


async def test_when_the_reading_caller_is_canceled_the_next_caller_reads() -> None:
    reader = Reader(3)
    snapshots = QueueSnapshotCache(reader.read)
    first = asyncio.create_task(snapshots.get_snapshot("gpu"))
    other = asyncio.create_task(snapshots.get_snapshot("gpu"))
    await reader.has_begun.wait()
    first.cancel()
    reader.go.set()

    assert len(await other) == 3
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_each_queue_has_a_snapshot_of_its_own() -> None:
    lengths = {"gpu": 100, "media": 200}

    async def read(queue: str) -> QueueSnapshot:
        return make_snapshot(lengths[queue])

    snapshots = QueueSnapshotCache(read)

    assert {queue: len(await snapshots.get_snapshot(queue)) for queue in lengths} == lengths
