"""The time left that a worker publishes, from the first clip of a model to the second reel."""

import json
from typing import Any

from redis.asyncio.client import PubSub

from fixtures.redis_server import read_published
from fixtures.workplace import OpenHarness, a_reel, slowed
from phoenix.services import Services

CLIPS = 3


async def progress_of(services: Services, pubsub: PubSub, job_id: str) -> list[dict[str, Any]]:
    """Every progress of the job's clips that was published up to now."""
    published = await read_published(services.redis, pubsub, services.channels.job(job_id))
    return [event for event in map(json.loads, published) if event["type"] == "clip.progress"]


async def test_no_time_left_is_shown_before_it_is_known_and_then_all_that_is_to_come(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.05))
    reels: list[list[dict[str, Any]]] = []
    async with harness.services.redis.pubsub() as pubsub, harness.worker():
        for _ in range(2):
            job_id = await harness.submit(a_reel(clips=CLIPS, steps=10))
            await pubsub.subscribe(harness.services.channels.job(job_id))
            await harness.until_ended(job_id)
            reels.append(await progress_of(harness.services, pubsub, job_id))
    first_reel, second_reel = reels

    assert {event["job_eta_s"] for event in first_reel if event["clip_index"] == 0} == {None}
    assert second_reel
    assert all(event["job_eta_s"] is not None for event in second_reel)
    # Two clips more, of half a second at least.
    assert all(event["job_eta_s"] >= 1 for event in second_reel if event["clip_index"] == 0)
