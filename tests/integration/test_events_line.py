"""The process's pub/sub connection on a real Redis that is killed, frozen, or cuts its clients off."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fixtures.redis_server import RedisServer
from phoenix.events.pubsub.redis_client import open_redis
from phoenix.events.pubsub.subscriber import Line

CHANNEL = "test:channel"


class Ear:
    """A listener that tests can wait on."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, channel: str, message: bytes) -> None:
        assert channel == CHANNEL
        self.messages.put_nowait(message)

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.messages.get(), 100)


@pytest.fixture
async def line(redis_client: Redis) -> AsyncIterator[Line]:
    async with Line(redis_client, silence_s=0.2, ack_timeout_s=1) as line:
        yield line


def watch_gaps(line: Line) -> asyncio.Event:
    gap = asyncio.Event()
    line.on_gap(gap.set)
    return gap


async def subscribers(redis: Redis) -> int:
    ((_, count),) = await redis.pubsub_numsub(CHANNEL)
    return count


async def until_subscribers(redis: Redis, count: int) -> None:
    for _ in range(500):
        if await subscribers(redis) == count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"never {count} subscribers")


async def test_listening_returns_when_redis_has_acknowledged(line: Line, redis_client: Redis) -> None:
    ear = Ear()
    assert await line.listen(CHANNEL, ear)
    assert await redis_client.publish(CHANNEL, "now") == 1
    assert await ear.next() == b"now"


async def test_a_callback_given_twice_is_called_once_and_leaves_twice(line: Line, redis_client: Redis) -> None:
    ear = Ear()
    await line.listen(CHANNEL, ear)
    await line.listen(CHANNEL, ear)
    line.leave(CHANNEL, ear)
    await redis_client.publish(CHANNEL, "1")
    await redis_client.publish(CHANNEL, "2")
    assert [await ear.next(), await ear.next()] == [b"1", b"2"]
    line.leave(CHANNEL, ear)
    await until_subscribers(redis_client, 0)


async def test_leaving_and_listening_again_at_once_stays_acknowledged(line: Line, redis_client: Redis) -> None:
    ear = Ear()
    await line.listen(CHANNEL, ear)
    for turn in range(200):
        line.leave(CHANNEL, ear)
        await asyncio.sleep(0)
        if turn % 3:
            await asyncio.sleep(0)
        assert await line.listen(CHANNEL, ear)
        assert await redis_client.publish(CHANNEL, str(turn)) == 1
        assert await ear.next() == str(turn).encode()


async def test_a_cancelled_listen_leaves_nothing_behind(
    line: Line, redis_server: RedisServer, redis_client: Redis
) -> None:
    redis_server.pause()
    listening = asyncio.create_task(line.listen(CHANNEL, Ear()))
    await asyncio.sleep(0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert not line.wanted
    redis_server.resume()
    await until_subscribers(redis_client, 0)


async def test_silence_is_not_taken_for_death(line: Line, redis_client: Redis) -> None:
    ear = Ear()
    await line.listen(CHANNEL, ear)
    before = await redis_client.client_list("pubsub")
    await asyncio.sleep(1)  # five times as long as a connection may be silent
    after = await redis_client.client_list("pubsub")
    assert [client["id"] for client in after] == [client["id"] for client in before]


async def test_a_cut_connection_is_replaced_and_the_gap_announced(line: Line, redis_client: Redis) -> None:
    ear = Ear()
    await line.listen(CHANNEL, ear)
    gap = watch_gaps(line)
    await redis_client.client_kill_filter(_type="pubsub")
    await asyncio.wait_for(gap.wait(), 100)
    assert await redis_client.publish(CHANNEL, "back") == 1
    assert await ear.next() == b"back"


async def test_a_frozen_redis_is_noticed_and_joined_again(
    line: Line, redis_server: RedisServer, redis_client: Redis
) -> None:
    ear = Ear()
    await line.listen(CHANNEL, ear)
    gap = watch_gaps(line)
    redis_server.pause()
    for _ in range(500):
        if not line.is_up:
            break
        await asyncio.sleep(0.01)
    assert not line.is_up
    assert not await line.listen(CHANNEL, ear)
    redis_server.resume()
    await asyncio.wait_for(gap.wait(), 100)
    await redis_client.publish(CHANNEL, "back")
    assert await ear.next() == b"back"


async def test_a_line_may_be_opened_before_redis_is_there(redis_server: RedisServer) -> None:
    redis_server.kill()
    redis = open_redis(redis_server.url, socket_timeout_s=1)
    ear = Ear()
    async with Line(redis) as line:
        gap = watch_gaps(line)
        assert not await line.listen(CHANNEL, ear)
        redis_server.start()
        await asyncio.wait_for(gap.wait(), 100)
        assert await redis.publish(CHANNEL, "hello") == 1
        assert await ear.next() == b"hello"
    await redis.aclose()


async def test_a_listener_that_fails_does_not_deafen_the_others(line: Line, redis_client: Redis) -> None:
    def fail(_channel: str, _message: bytes) -> None:
        raise RuntimeError("my mistake")

    ear = Ear()
    await line.listen(CHANNEL, fail)
    await line.listen(CHANNEL, ear)
    await redis_client.publish(CHANNEL, "1")
    assert await ear.next() == b"1"


async def test_a_line_can_be_closed_at_any_moment(redis_client: Redis) -> None:
    # redis-py alone swallows a cancellation that comes while it writes: closing then hung for ever.
    async with asyncio.timeout(100):
        for turn in range(60):
            async with Line(redis_client, ack_timeout_s=3600) as line:
                listening = asyncio.create_task(line.listen(CHANNEL, Ear()))
                for _ in range(turn % 12):
                    await asyncio.sleep(0)
            await listening
