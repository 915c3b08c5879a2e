"""Ringing doorbells into a real Redis, and finding out what it has lost."""

import pytest
from redis.asyncio import Redis

from fixtures.redis_server import RedisServer
from phoenix.errors import Unavailable
from phoenix.ids import new_task_id
from phoenix.queues.arq_queue import LIFE_MS, ArqTaskQueue
from phoenix.queues.queue import Doorbell, queue_key

KEY = queue_key("test", "gpu")


@pytest.fixture
def queue(redis_client: Redis) -> ArqTaskQueue:
    return ArqTaskQueue(redis_client, "test")


def bells(count: int) -> list[Doorbell]:
    return [Doorbell(new_task_id(), 1) for _ in range(count)]


async def names(redis: Redis) -> list[str]:
    return [entry.decode() for entry in await redis.zrange(KEY, 0, -1)]


async def test_a_batch_keeps_its_order(queue: ArqTaskQueue, redis_client: Redis) -> None:
    rung = bells(50)[::-1]
    await queue.ring("gpu", rung)
    assert await names(redis_client) == [bell.name for bell in rung]


async def test_a_second_batch_comes_after_the_first(queue: ArqTaskQueue, redis_client: Redis) -> None:
    first, second = bells(30), bells(30)
    await queue.ring("gpu", second)
    await queue.ring("gpu", first)
    assert await names(redis_client) == [bell.name for bell in second + first]


async def test_ringing_again_keeps_the_place(queue: ArqTaskQueue, redis_client: Redis) -> None:
    rung = bells(3)
    await queue.ring("gpu", rung)
    await queue.ring("gpu", rung[:1])
    assert await names(redis_client) == [bell.name for bell in rung]


async def test_what_is_withdrawn_and_rung_again_comes_last(queue: ArqTaskQueue, redis_client: Redis) -> None:
    rung = bells(3)
    await queue.ring("gpu", rung)
    await queue.withdraw("gpu", rung[:1])
    assert await queue.find_missing("gpu", rung) == rung[:1]
    await queue.ring("gpu", rung[:1])
    assert await names(redis_client) == [bell.name for bell in [*rung[1:], rung[0]]]


async def test_withdrawing_what_is_not_there_is_harmless(queue: ArqTaskQueue, redis_client: Redis) -> None:
    await queue.withdraw("gpu", [])
    await queue.withdraw("gpu", bells(1))
    assert await names(redis_client) == []


async def test_a_doorbell_lives_for_seven_days(queue: ArqTaskQueue, redis_client: Redis) -> None:
    (bell,) = rung = bells(1)
    await queue.ring("gpu", rung)
    left_ms = await redis_client.pttl(f"arq:job:{bell.name}")
    assert LIFE_MS - 60_000 < left_ms <= LIFE_MS


async def test_nothing_but_ids_goes_into_redis(queue: ArqTaskQueue, redis_client: Redis) -> None:
    (bell,) = rung = bells(1)
    await queue.ring("gpu", rung)
    stored = await redis_client.get(f"arq:job:{bell.name}")
    assert stored == b'{"f":"answer","a":["%s",1]}' % bell.task_id.encode()


async def test_a_ring_is_heard_on_the_wake_channel(queue: ArqTaskQueue, redis_client: Redis) -> None:
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe("test:wake:gpu")
        await pubsub.get_message(timeout=2)
        await queue.ring("gpu", bells(1))
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=2)
    assert message is not None


async def test_ringing_nothing_does_not_touch_redis(queue: ArqTaskQueue, redis_server: RedisServer) -> None:
    redis_server.kill()
    await queue.ring("gpu", [])
    assert await queue.find_missing("gpu", []) == []


async def test_a_lost_entry_is_missing(queue: ArqTaskQueue, redis_client: Redis) -> None:
    rung = bells(3)
    await queue.ring("gpu", rung)
    await redis_client.zrem(KEY, rung[1].name)
    assert await queue.find_missing("gpu", rung) == [rung[1]]


async def test_an_entry_that_lost_its_definition_is_missing(queue: ArqTaskQueue, redis_client: Redis) -> None:
    rung = bells(2)
    await queue.ring("gpu", rung)
    await redis_client.delete(f"arq:job:{rung[0].name}")
    assert await queue.find_missing("gpu", rung) == [rung[0]]


async def test_what_was_missing_is_there_once_it_is_rung_again(queue: ArqTaskQueue, redis_client: Redis) -> None:
    rung = bells(1)
    await queue.ring("gpu", rung)
    await redis_client.zrem(KEY, rung[0].name)
    await queue.ring("gpu", rung)
    assert await queue.find_missing("gpu", rung) == []


async def test_a_flushed_redis_is_told_once(queue: ArqTaskQueue, redis_client: Redis) -> None:
    await queue.was_wiped()
    before = await queue.was_wiped()
    await redis_client.flushall()
    assert (before, await queue.was_wiped(), await queue.was_wiped()) == (False, True, False)


async def test_redis_away_is_unavailable(queue: ArqTaskQueue, redis_server: RedisServer) -> None:
    redis_server.kill()
    with pytest.raises(Unavailable):
        await queue.ring("gpu", bells(1))
    with pytest.raises(Unavailable):
        await queue.find_missing("gpu", bells(1))
    with pytest.raises(Unavailable):
        await queue.was_wiped()
