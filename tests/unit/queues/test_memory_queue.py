"""The task queue in memory behaves as its protocol says."""

from phoenix.ids import new_task_id
from phoenix.queues.in_memory import MemoryTaskQueue
from phoenix.queues.queue import DispatchMessage, TaskQueue


def make_messages(count: int) -> list[DispatchMessage]:
    return [DispatchMessage(new_task_id(), 1) for _ in range(count)]


def taken(queue: MemoryTaskQueue) -> list[DispatchMessage]:
    return [message for _ in queue.waiting("gpu") if (message := queue.take("gpu"))]


async def test_messages_are_taken_in_the_order_they_were_enqueued() -> None:
    queue, enqueued = MemoryTaskQueue(), make_messages(3)
    await queue.enqueue("gpu", enqueued)
    assert taken(queue) == enqueued


async def test_a_message_that_is_enqueued_again_keeps_its_position() -> None:
    queue, enqueued = MemoryTaskQueue(), make_messages(3)
    await queue.enqueue("gpu", enqueued)
    await queue.enqueue("gpu", enqueued[1:2])
    assert queue.waiting("gpu") == enqueued


async def test_a_message_that_is_revoked_and_enqueued_again_comes_last() -> None:
    queue, enqueued = MemoryTaskQueue(), make_messages(3)
    await queue.enqueue("gpu", enqueued)
    await queue.revoke("gpu", enqueued[:1])
    await queue.enqueue("gpu", enqueued[:1])
    assert queue.waiting("gpu") == [*enqueued[1:], enqueued[0]]


async def test_a_queue_has_only_its_own_messages() -> None:
    queue = MemoryTaskQueue()
    await queue.enqueue("media", make_messages(1))
    assert queue.take("gpu") is None


async def test_a_taken_message_is_missing() -> None:
    queue, enqueued = MemoryTaskQueue(), make_messages(2)
    await queue.enqueue("gpu", enqueued)
    queue.take("gpu")
    assert await queue.find_missing("gpu", enqueued) == enqueued[:1]


async def test_a_wipe_is_reported_once_and_loses_everything() -> None:
    queue: MemoryTaskQueue = MemoryTaskQueue()
    task_queue: TaskQueue = queue
    enqueued = make_messages(1)
    await task_queue.was_wiped()
    await task_queue.enqueue("gpu", enqueued)
    queue.wipe()
    assert [await task_queue.was_wiped(), await task_queue.was_wiped()] == [True, False]
    assert await task_queue.find_missing("gpu", enqueued) == enqueued
