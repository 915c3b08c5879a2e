"""Publishing events, and storing the newest progress for clients that connect later."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fixtures.event_examples import JOB_ID, OWNER_ID, a_history, clip_preview, clip_progress, queue_moved
from fixtures.redis_server import RedisServer
from phoenix.clock import utc_now
from phoenix.contract import ClipProgress, DurableEvent, EphemeralEvent, JobCanceled
from phoenix.events.messages import EventEnvelope, decode
from phoenix.events.progress_cache import NO_PROGRESS, ProgressSnapshot
from phoenix.events.publisher import EventPublisher
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.subscriber import PubSubSubscriber

CHANNELS = Channels("test")


def event_of(message: bytes) -> DurableEvent | EphemeralEvent:
    return decode(message).event


@pytest.fixture
def publisher(redis_client: Redis) -> EventPublisher:
    return EventPublisher(redis_client, "test", timeout_s=100)


@pytest.fixture
async def received(redis_client: Redis) -> AsyncIterator[asyncio.Queue[bytes]]:
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    async with PubSubSubscriber(redis_client, silence_s=3600, ack_timeout_s=3600) as subscriber:
        await subscriber.subscribe(CHANNELS.job(JOB_ID), lambda _channel, message: messages.put_nowait(message))
        yield messages


async def test_durable_events_are_published_in_the_order_given(
    publisher: EventPublisher, received: asyncio.Queue[bytes]
) -> None:
    await publisher.publish(*(EventEnvelope(event, OWNER_ID) for event in a_history(4)))
    messages = [await asyncio.wait_for(received.get(), 100) for _ in range(4)]
    assert [decode(message).event for message in messages] == a_history(4)


async def test_commands_for_the_same_round_trip_are_sent_without_an_event_too(
    publisher: EventPublisher, received: asyncio.Queue[bytes]
) -> None:
    await publisher.publish(then=[("PUBLISH", CHANNELS.job(JOB_ID), "wake up")])
    assert await asyncio.wait_for(received.get(), 100) == b"wake up"


async def test_every_ephemeral_event_is_published(publisher: EventPublisher, received: asyncio.Queue[bytes]) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    await publisher.publish_preview(clip_preview(), OWNER_ID)
    await publisher.publish(EventEnvelope(queue_moved(2), OWNER_ID))
    messages = [await asyncio.wait_for(received.get(), 100) for _ in range(3)]
    assert [decode(message).event for message in messages] == [clip_progress(1), clip_preview(), queue_moved(2)]


async def kept(redis_client: Redis) -> ProgressSnapshot:
    """The progress that a process finds in Redis if it has received nothing itself."""
    return (await EventPublisher(redis_client, "test", timeout_s=100).read_progress([JOB_ID]))[JOB_ID]


async def test_the_newest_progress_of_each_clip_is_kept(publisher: EventPublisher, redis_client: Redis) -> None:
    for progress in (clip_progress(1), clip_progress(2), clip_progress(9, clip_index=12)):
        await publisher.publish_progress(progress, OWNER_ID)
    assert (await kept(redis_client)).clips == {0: clip_progress(2), 12: clip_progress(9, clip_index=12)}


async def test_the_published_progress_of_the_job_never_falls(
    publisher: EventPublisher, received: asyncio.Queue[bytes], redis_client: Redis
) -> None:
    shares = [0.07125, 0.03, 2 / 3, 0.1]
    returned = [
        await publisher.publish_progress(clip_progress(1, clip_index=clip, job_progress=share), OWNER_ID)
        for clip, share in enumerate(shares)
    ]
    messages = [await asyncio.wait_for(received.get(), 100) for _ in shares]
    published = [event.job_progress for event in map(event_of, messages) if isinstance(event, ClipProgress)]
    assert published == returned == [0.07125, 0.07125, 2 / 3, 2 / 3]
    assert (await kept(redis_client)).job_progress == 2 / 3


async def test_a_worker_that_lost_its_attempt_publishes_nothing_any_more(
    publisher: EventPublisher, received: asyncio.Queue[bytes], redis_client: Redis
) -> None:
    newest = clip_progress(2, attempt=2)
    for progress in (newest, clip_progress(80, attempt=1, job_progress=0.8), clip_progress(1, attempt=2)):
        await publisher.publish_progress(progress, OWNER_ID)
    await publisher.publish(EventEnvelope(queue_moved(1), OWNER_ID))
    messages = [await asyncio.wait_for(received.get(), 100) for _ in range(2)]
    assert [event_of(message) for message in messages] == [newest, queue_moved(1)]
    assert await kept(redis_client) == ProgressSnapshot(0.0, {0: newest})


async def test_a_process_knows_its_own_progress_without_redis(
    publisher: EventPublisher, redis_client: Redis, redis_server: RedisServer
) -> None:
    published = clip_progress(5, job_progress=0.5)
    await publisher.publish_progress(published, OWNER_ID)
    await redis_client.flushall()
    assert await publisher.read_progress([JOB_ID]) == {JOB_ID: ProgressSnapshot(0.5, {0: published})}
    redis_server.kill()
    assert await publisher.read_progress([JOB_ID]) == {JOB_ID: ProgressSnapshot(0.5, {0: published})}


async def test_progress_that_is_kept_expires(publisher: EventPublisher, redis_client: Redis) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    assert 0 < await redis_client.ttl(CHANNELS.progress(JOB_ID)) <= 24 * 3600


async def test_progress_written_by_another_version_is_left_out(publisher: EventPublisher, redis_client: Redis) -> None:
    await redis_client.hset(CHANNELS.progress(JOB_ID), "7", '{"type": "clip.progress", "attempt": 1, "progress": 1}')
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    await publisher.publish_progress(clip_progress(1, clip_index=7), OWNER_ID)
    assert list((await kept(redis_client)).clips) == [0]


async def test_nothing_is_raised_while_redis_is_away(publisher: EventPublisher, redis_server: RedisServer) -> None:
    redis_server.kill()
    await publisher.publish(*(EventEnvelope(event, OWNER_ID) for event in a_history(2)))
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    assert await publisher.read_progress(["another"]) == {"another": NO_PROGRESS}


async def test_a_frozen_redis_costs_the_time_limit_once(redis_client: Redis, redis_server: RedisServer) -> None:
    publisher = EventPublisher(redis_client, "test", timeout_s=0.5)
    redis_server.pause()
    # A fifth of what it would take with the time limit each time.
    async with asyncio.timeout(100):
        for turn in range(1000):
            await publisher.publish_progress(clip_progress(turn % 100), OWNER_ID)


async def test_publishing_works_again_at_once_after_a_restart(
    publisher: EventPublisher, redis_server: RedisServer, redis_client: Redis
) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    redis_server.restart()
    await publisher.publish_progress(clip_progress(2), OWNER_ID)
    assert (await kept(redis_client)).clips == {0: clip_progress(2)}


async def test_the_progress_of_a_job_that_has_ended_is_forgotten_before_long(
    publisher: EventPublisher, redis_client: Redis
) -> None:
    await publisher.publish_progress(clip_progress(1), OWNER_ID)
    assert await redis_client.pttl(CHANNELS.progress(JOB_ID)) > 3_600_000
    ended = JobCanceled(job_id=JOB_ID, seq=9, at=utc_now())
    await publisher.publish(EventEnvelope(ended, OWNER_ID))
    assert 0 < await redis_client.pttl(CHANNELS.progress(JOB_ID)) <= 600_000
    assert (await kept(redis_client)).job_progress == clip_progress(1).job_progress
