"""Publishing events, and the newest progress that is kept for those who connect later."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fixtures.event_examples import JOB_ID, OWNER_ID, a_history, clip_preview, clip_progress, queue_moved
from fixtures.redis_server import RedisServer
from phoenix.events.channels import Channels
from phoenix.events.doorbell import decode
from phoenix.events.line import Line
from phoenix.events.owned import Owned
from phoenix.events.publisher import EventPublisher

CHANNELS = Channels("test")


@pytest.fixture
def publisher(redis_client: Redis) -> EventPublisher:
    return EventPublisher(redis_client, "test", time_limit_s=0.5)


@pytest.fixture
async def heard(redis_client: Redis) -> AsyncIterator[asyncio.Queue[bytes]]:
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    async with Line(redis_client) as line:
        await line.listen(CHANNELS.job(JOB_ID), lambda _channel, message: messages.put_nowait(message))
        yield messages


async def test_durable_events_are_published_in_the_order_given(
    publisher: EventPublisher, heard: asyncio.Queue[bytes]
) -> None:
    await publisher.publish(*(Owned(event, OWNER_ID) for event in a_history(4)))
    messages = [await asyncio.wait_for(heard.get(), 5) for _ in range(4)]
    assert [decode(message).event for message in messages] == a_history(4)


async def test_every_ephemeral_event_is_published(publisher: EventPublisher, heard: asyncio.Queue[bytes]) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    await publisher.publish_preview(clip_preview(), OWNER_ID)
    await publisher.publish(Owned(queue_moved(2), OWNER_ID))
    messages = [await asyncio.wait_for(heard.get(), 5) for _ in range(3)]
    assert [decode(message).event for message in messages] == [clip_progress(1), clip_preview(), queue_moved(2)]


async def test_the_newest_progress_of_each_clip_is_kept(publisher: EventPublisher) -> None:
    for progress in (clip_progress(1), clip_progress(2), clip_progress(9, clip_index=12)):
        await publisher.publish_progress(progress, OWNER_ID)
    assert await publisher.read_progress(JOB_ID) == {0: clip_progress(2), 12: clip_progress(9, clip_index=12)}


async def test_progress_that_is_kept_expires(publisher: EventPublisher, redis_client: Redis) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    assert 0 < await redis_client.ttl(CHANNELS.progress(JOB_ID)) <= 24 * 3600


async def test_cleared_progress_is_gone(publisher: EventPublisher) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    await publisher.clear_progress(JOB_ID)
    assert await publisher.read_progress(JOB_ID) == {}


async def test_progress_written_by_another_version_is_left_out(publisher: EventPublisher, redis_client: Redis) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    await redis_client.hset(CHANNELS.progress(JOB_ID), "7", '{"type": "clip.progress"}')
    assert list(await publisher.read_progress(JOB_ID)) == [0]


async def test_nothing_is_raised_while_redis_is_away(publisher: EventPublisher, redis_server: RedisServer) -> None:
    redis_server.kill()
    await publisher.publish(*(Owned(event, OWNER_ID) for event in a_history(2)))
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    await publisher.clear_progress(JOB_ID)
    assert await publisher.read_progress(JOB_ID) == {}


async def test_a_frozen_redis_costs_the_time_limit_once(publisher: EventPublisher, redis_server: RedisServer) -> None:
    redis_server.pause()
    async with asyncio.timeout(1):
        for step in range(100):
            await publisher.publish_progress(clip_progress(step), OWNER_ID)


async def test_publishing_works_again_at_once_after_a_restart(
    publisher: EventPublisher, redis_server: RedisServer
) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    redis_server.restart()
    await publisher.publish_progress(clip_progress(2), OWNER_ID)
    assert await publisher.read_progress(JOB_ID) == {0: clip_progress(2)}
