"""The in-memory twin keeps the promises of the seam."""

from phoenix.ids import new_task_id
from phoenix.queues.in_memory import MemoryTaskQueue
from phoenix.queues.queue import Doorbell, TaskQueue


def bells(count: int) -> list[Doorbell]:
    return [Doorbell(new_task_id(), 1) for _ in range(count)]


def taken(queue: MemoryTaskQueue) -> list[Doorbell]:
    return [bell for _ in queue.waiting("gpu") if (bell := queue.take("gpu"))]


async def test_doorbells_are_taken_in_the_order_they_were_rung() -> None:
    queue, rung = MemoryTaskQueue(), bells(3)
    await queue.ring("gpu", rung)
    assert taken(queue) == rung


async def test_a_doorbell_that_is_rung_again_keeps_its_place() -> None:
    queue, rung = MemoryTaskQueue(), bells(3)
    await queue.ring("gpu", rung)
    await queue.ring("gpu", rung[1:2])
    assert queue.waiting("gpu") == rung


async def test_what_is_withdrawn_and_rung_again_comes_last() -> None:
    queue, rung = MemoryTaskQueue(), bells(3)
    await queue.ring("gpu", rung)
    await queue.withdraw("gpu", rung[:1])
    await queue.ring("gpu", rung[:1])
    assert queue.waiting("gpu") == [*rung[1:], rung[0]]


async def test_queues_are_apart() -> None:
    queue = MemoryTaskQueue()
    await queue.ring("media", bells(1))
    assert queue.take("gpu") is None


async def test_what_was_taken_is_missing() -> None:
    queue, rung = MemoryTaskQueue(), bells(2)
    await queue.ring("gpu", rung)
    queue.take("gpu")
    assert await queue.find_missing("gpu", rung) == rung[:1]


async def test_a_wipe_is_told_once_and_loses_everything() -> None:
    queue: MemoryTaskQueue = MemoryTaskQueue()
    seam: TaskQueue = queue
    rung = bells(1)
    await seam.was_wiped()
    await seam.ring("gpu", rung)
    queue.wipe()
    assert [await seam.was_wiped(), await seam.was_wiped()] == [True, False]
    assert await seam.find_missing("gpu", rung) == rung
