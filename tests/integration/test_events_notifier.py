"""Notifications between processes over a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fixtures.redis_server import RedisServer
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.notifier import Notifier
from phoenix.events.pubsub.subscriber import PubSubSubscriber

STOP = Channels("test").stop


@pytest.fixture
async def subscriber(redis_client: Redis) -> AsyncIterator[PubSubSubscriber]:
    async with PubSubSubscriber(redis_client, silence_s=3600, ack_timeout_s=3600) as subscriber:
        yield subscriber


async def test_every_notification_arrives_with_its_payload(subscriber: PubSubSubscriber, redis_client: Redis) -> None:
    notifier = Notifier(redis_client, STOP, timeout_s=100)
    received: asyncio.Queue[str] = asyncio.Queue()
    async with notifier.subscribe(subscriber, received.put_nowait):
        assert await notifier.notify("task_1")
        assert await notifier.notify("task_2")
        assert [await asyncio.wait_for(received.get(), 100) for _ in range(2)] == ["task_1", "task_2"]


async def test_a_notification_sets_the_wake_event(subscriber: PubSubSubscriber, redis_client: Redis) -> None:
    notifier = Notifier(redis_client, STOP, timeout_s=100)
    async with notifier.wake_event(subscriber) as wake_event:
        assert not wake_event.is_set()
        await notifier.notify()
        await asyncio.wait_for(wake_event.wait(), 100)


async def test_after_an_outage_subscribers_get_an_empty_notification(
    subscriber: PubSubSubscriber, redis_client: Redis, redis_server: RedisServer
) -> None:
    notifier = Notifier(redis_client, STOP, timeout_s=100)
    received: asyncio.Queue[str] = asyncio.Queue()
    async with notifier.subscribe(subscriber, received.put_nowait):
        redis_server.kill()
        assert not await notifier.notify("task_1")
        redis_server.start()
        assert await asyncio.wait_for(received.get(), 100) == ""
        assert await notifier.notify("task_2")
        assert await asyncio.wait_for(received.get(), 100) == "task_2"


async def test_notifying_a_frozen_redis_gives_up_in_time(redis_client: Redis, redis_server: RedisServer) -> None:
    notifier = Notifier(redis_client, STOP, timeout_s=0.1)
    redis_server.pause()
    async with asyncio.timeout(100):
        assert not await notifier.notify()


async def test_after_unsubscribing_nothing_arrives(subscriber: PubSubSubscriber, redis_client: Redis) -> None:
    notifier = Notifier(redis_client, STOP, timeout_s=100)
    received: list[str] = []
    async with notifier.subscribe(subscriber, received.append):
        pass
    async with notifier.wake_event(subscriber) as wake_event:
        await notifier.notify("task_1")
        await asyncio.wait_for(wake_event.wait(), 100)
    assert received == []
