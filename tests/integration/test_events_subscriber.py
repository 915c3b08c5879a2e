"""The process's pub/sub connection on a real Redis that is killed, frozen, or cuts its clients off."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fixtures.redis_server import RedisServer
from phoenix.events.pubsub.redis_client import open_redis
from phoenix.events.pubsub.subscriber import PubSubSubscriber

CHANNEL = "test:channel"


class Inbox:
    """A listener that tests can wait on."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, channel: str, message: bytes) -> None:
        assert channel == CHANNEL
        self.messages.put_nowait(message)

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.messages.get(), 100)


@pytest.fixture
async def subscriber(redis_client: Redis) -> AsyncIterator[PubSubSubscriber]:
    """Does not take a machine that stands still for a Redis that is away."""
    async with PubSubSubscriber(redis_client, silence_s=3600, ack_timeout_s=3600) as subscriber:
        yield subscriber


@pytest.fixture
async def hasty_subscriber(hasty_redis_client: Redis) -> AsyncIterator[PubSubSubscriber]:
    async with PubSubSubscriber(hasty_redis_client, silence_s=0.2, ack_timeout_s=0.2) as subscriber:
        yield subscriber


def watch_reconnects(subscriber: PubSubSubscriber) -> asyncio.Event:
    reconnected = asyncio.Event()
    subscriber.add_on_reconnect(reconnected.set)
    return reconnected


async def subscribers(redis: Redis) -> int:
    ((_, count),) = await redis.pubsub_numsub(CHANNEL)
    return count


async def until_subscribers(redis: Redis, count: int) -> None:
    async with asyncio.timeout(100):
        while await subscribers(redis) != count:  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.01)


async def test_subscribing_returns_when_redis_has_acknowledged(
    subscriber: PubSubSubscriber, redis_client: Redis
) -> None:
    inbox = Inbox()
    assert await subscriber.subscribe(CHANNEL, inbox)
    assert await redis_client.publish(CHANNEL, "now") == 1
    assert await inbox.next() == b"now"


async def test_a_callback_given_twice_is_called_once_and_unsubscribes_twice(
    subscriber: PubSubSubscriber, redis_client: Redis
) -> None:
    inbox = Inbox()
    await subscriber.subscribe(CHANNEL, inbox)
    await subscriber.subscribe(CHANNEL, inbox)
    subscriber.unsubscribe(CHANNEL, inbox)
    await redis_client.publish(CHANNEL, "1")
    await redis_client.publish(CHANNEL, "2")
    assert [await inbox.next(), await inbox.next()] == [b"1", b"2"]
    subscriber.unsubscribe(CHANNEL, inbox)
    await until_subscribers(redis_client, 0)


async def test_unsubscribing_and_subscribing_again_at_once_stays_acknowledged(
    subscriber: PubSubSubscriber, redis_client: Redis
) -> None:
    inbox = Inbox()
    await subscriber.subscribe(CHANNEL, inbox)
    for turn in range(200):
        subscriber.unsubscribe(CHANNEL, inbox)
        await asyncio.sleep(0)
        if turn % 3:
            await asyncio.sleep(0)
        assert await subscriber.subscribe(CHANNEL, inbox)
        assert await redis_client.publish(CHANNEL, str(turn)) == 1
        assert await inbox.next() == str(turn).encode()


async def test_a_cancelled_subscribe_leaves_nothing_behind(
    subscriber: PubSubSubscriber, redis_server: RedisServer, redis_client: Redis
) -> None:
    redis_server.pause()
    listening = asyncio.create_task(subscriber.subscribe(CHANNEL, Inbox()))
    await asyncio.sleep(0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert not subscriber.wanted
    redis_server.resume()
    await until_subscribers(redis_client, 0)


async def pings_and_connections(redis: Redis) -> tuple[int, list[str]]:
    """How many pings Redis has got, and who listens."""
    counted = (await redis.info("commandstats")).get("cmdstat_ping", {"calls": 0})
    return counted["calls"], [client["id"] for client in await redis.client_list("pubsub")]


async def test_a_silent_connection_is_kept(hasty_subscriber: PubSubSubscriber, redis_client: Redis) -> None:
    await hasty_subscriber.subscribe(CHANNEL, Inbox())
    first_ping, kept = pings, _ = await pings_and_connections(redis_client)
    async with asyncio.timeout(100):
        # A connection that is replaced for its silence gets no more than one ping.
        while pings < first_ping + 5:
            await asyncio.sleep(0.01)
            pings, found = await pings_and_connections(redis_client)
            if found != kept:
                # The machine stood still for longer than a connection may be silent.
                first_ping, kept = pings, found


async def test_a_cut_connection_is_replaced_and_the_reconnect_is_reported(
    subscriber: PubSubSubscriber, redis_client: Redis
) -> None:
    inbox = Inbox()
    await subscriber.subscribe(CHANNEL, inbox)
    reconnected = watch_reconnects(subscriber)
    await redis_client.client_kill_filter(_type="pubsub")
    await asyncio.wait_for(reconnected.wait(), 100)
    assert await redis_client.publish(CHANNEL, "back") == 1
    assert await inbox.next() == b"back"


async def test_a_frozen_redis_is_detected_and_connected_to_again(
    hasty_subscriber: PubSubSubscriber, redis_server: RedisServer, redis_client: Redis
) -> None:
    inbox = Inbox()
    await hasty_subscriber.subscribe(CHANNEL, inbox)
    reconnected = watch_reconnects(hasty_subscriber)
    redis_server.pause()
    async with asyncio.timeout(100):
        while hasty_subscriber.is_connected:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.01)
    assert not await hasty_subscriber.subscribe(CHANNEL, inbox)
    reconnected.clear()
    redis_server.resume()
    await asyncio.wait_for(reconnected.wait(), 100)
    async with asyncio.timeout(100):
        while inbox.messages.empty():
            # A machine that stands still may cost this connection as well.
            await redis_client.publish(CHANNEL, "back")
            await asyncio.sleep(0.01)
    assert await inbox.next() == b"back"


async def test_a_subscription_that_redis_acknowledges_too_late_is_reported_like_a_reconnect(
    redis_client: Redis, redis_server: RedisServer
) -> None:
    async with PubSubSubscriber(redis_client, silence_s=3600, ack_timeout_s=0.1) as subscriber:
        reconnected = watch_reconnects(subscriber)
        redis_server.pause()
        assert not await subscriber.subscribe(CHANNEL, Inbox())
        assert not reconnected.is_set()
        redis_server.resume()
        await asyncio.wait_for(reconnected.wait(), 100)


async def test_a_subscriber_may_be_opened_before_redis_is_there(redis_server: RedisServer) -> None:
    redis_server.kill()
    redis = open_redis(redis_server.url, socket_timeout_s=1)
    inbox = Inbox()
    async with PubSubSubscriber(redis) as subscriber:
        reconnected = watch_reconnects(subscriber)
        assert not await subscriber.subscribe(CHANNEL, inbox)
        redis_server.start()
        await asyncio.wait_for(reconnected.wait(), 100)
        assert await redis.publish(CHANNEL, "hello") == 1
        assert await inbox.next() == b"hello"
    await redis.aclose()


async def test_a_listener_that_fails_does_not_cut_off_the_others(
    subscriber: PubSubSubscriber, redis_client: Redis
) -> None:
    def fail(_channel: str, _message: bytes) -> None:
        raise RuntimeError("my mistake")

    inbox = Inbox()
    await subscriber.subscribe(CHANNEL, fail)
    await subscriber.subscribe(CHANNEL, inbox)
    await redis_client.publish(CHANNEL, "1")
    assert await inbox.next() == b"1"


async def test_a_subscriber_that_is_cancelled_while_it_connects_leaves_no_connection_open(redis_client: Redis) -> None:
    async def listen() -> None:
        async with PubSubSubscriber(redis_client):
            await asyncio.Event().wait()

    for turns in range(60):
        listening = asyncio.create_task(listen())
        for _ in range(turns):
            await asyncio.sleep(0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    # A connection that was left open is reported when it is collected, and the report fails this test.
    gc.collect()


async def test_a_subscriber_can_be_closed_at_any_moment(redis_client: Redis) -> None:
    # redis-py alone swallows a cancellation that comes while it writes: closing then hung for ever.
    async with asyncio.timeout(100):
        for turn in range(60):
            async with PubSubSubscriber(redis_client, ack_timeout_s=3600) as subscriber:
                listening = asyncio.create_task(subscriber.subscribe(CHANNEL, Inbox()))
                for _ in range(turn % 12):
                    await asyncio.sleep(0)
            await listening
