"""Enqueuing messages in a real Redis, and finding the messages that Redis has lost."""

import pytest
from redis.asyncio import Redis

from fixtures.redis_server import RedisServer
from phoenix.errors import Unavailable
from phoenix.ids import new_task_id
from phoenix.queues.arq_queue import MESSAGE_TTL_MS, ArqTaskQueue
from phoenix.queues.queue import DispatchMessage, queue_key

KEY = queue_key("test", "gpu")


@pytest.fixture
def queue(redis_client: Redis) -> ArqTaskQueue:
    return ArqTaskQueue(redis_client, "test")


def make_messages(count: int) -> list[DispatchMessage]:
    return [DispatchMessage(new_task_id(), 1) for _ in range(count)]


async def names(redis: Redis) -> list[str]:
    return [entry.decode() for entry in await redis.zrange(KEY, 0, -1)]


async def test_a_batch_keeps_its_order(queue: ArqTaskQueue, redis_client: Redis) -> None:
    enqueued = make_messages(50)[::-1]
    await queue.enqueue("gpu", enqueued)
    assert await names(redis_client) == [message.name for message in enqueued]


async def test_a_second_batch_comes_after_the_first(queue: ArqTaskQueue, redis_client: Redis) -> None:
    first, second = make_messages(30), make_messages(30)
    await queue.enqueue("gpu", second)
    await queue.enqueue("gpu", first)
    assert await names(redis_client) == [message.name for message in second + first]


async def test_a_message_that_is_enqueued_again_keeps_its_position_in_redis(
    queue: ArqTaskQueue, redis_client: Redis
) -> None:
    enqueued = make_messages(3)
    await queue.enqueue("gpu", enqueued)
    await queue.enqueue("gpu", enqueued[:1])
    assert await names(redis_client) == [message.name for message in enqueued]


async def test_a_revoked_message_comes_last_when_it_is_enqueued_again(queue: ArqTaskQueue, redis_client: Redis) -> None:
    enqueued = make_messages(3)
    await queue.enqueue("gpu", enqueued)
    await queue.revoke("gpu", enqueued[:1])
    assert await queue.find_missing("gpu", enqueued) == enqueued[:1]
    await queue.enqueue("gpu", enqueued[:1])
    assert await names(redis_client) == [message.name for message in [*enqueued[1:], enqueued[0]]]


async def test_revoking_an_unknown_message_is_harmless(queue: ArqTaskQueue, redis_client: Redis) -> None:
    await queue.revoke("gpu", [])
    await queue.revoke("gpu", make_messages(1))
    assert await names(redis_client) == []


async def test_a_message_lives_for_seven_days(queue: ArqTaskQueue, redis_client: Redis) -> None:
    (message,) = enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    left_ms = await redis_client.pttl(f"arq:job:{message.name}")
    assert MESSAGE_TTL_MS - 60_000 < left_ms <= MESSAGE_TTL_MS


async def test_nothing_but_ids_goes_into_redis(queue: ArqTaskQueue, redis_client: Redis) -> None:
    (message,) = enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    stored = await redis_client.get(f"arq:job:{message.name}")
    assert stored == b'{"f":"claim","a":["%s",1]}' % message.task_id.encode()


async def test_an_enqueue_is_published_on_the_wake_channel(queue: ArqTaskQueue, redis_client: Redis) -> None:
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe("test:wake:gpu")
        await pubsub.get_message(timeout=100)
        await queue.enqueue("gpu", make_messages(1))
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=100)
    assert message is not None


async def test_enqueuing_nothing_does_not_touch_redis(queue: ArqTaskQueue, redis_server: RedisServer) -> None:
    redis_server.kill()
    await queue.enqueue("gpu", [])
    assert await queue.find_missing("gpu", []) == []


async def test_a_lost_entry_is_missing(queue: ArqTaskQueue, redis_client: Redis) -> None:
    enqueued = make_messages(3)
    await queue.enqueue("gpu", enqueued)
    await redis_client.zrem(KEY, enqueued[1].name)
    assert await queue.find_missing("gpu", enqueued) == [enqueued[1]]


async def test_an_entry_that_lost_its_definition_is_missing(queue: ArqTaskQueue, redis_client: Redis) -> None:
    enqueued = make_messages(2)
    await queue.enqueue("gpu", enqueued)
    await redis_client.delete(f"arq:job:{enqueued[0].name}")
    assert await queue.find_missing("gpu", enqueued) == [enqueued[0]]


async def test_a_missing_message_is_there_once_it_is_enqueued_again(queue: ArqTaskQueue, redis_client: Redis) -> None:
    enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    await redis_client.zrem(KEY, enqueued[0].name)
    await queue.enqueue("gpu", enqueued)
    assert await queue.find_missing("gpu", enqueued) == []


async def test_a_flushed_redis_is_reported_once(queue: ArqTaskQueue, redis_client: Redis) -> None:
    await queue.was_wiped()
    before = await queue.was_wiped()
    await redis_client.flushall()
    assert (before, await queue.was_wiped(), await queue.was_wiped()) == (False, True, False)


async def test_redis_away_is_unavailable(queue: ArqTaskQueue, redis_server: RedisServer) -> None:
    redis_server.kill()
    with pytest.raises(Unavailable):
        await queue.enqueue("gpu", make_messages(1))
    with pytest.raises(Unavailable):
        await queue.find_missing("gpu", make_messages(1))
    with pytest.raises(Unavailable):
        await queue.was_wiped()
