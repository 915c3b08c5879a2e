"""The time left that a worker tells, from the first clip of a model to the second reel."""

import json
from typing import Any

from redis.asyncio.client import PubSub

from fixtures.workplace import OpenWorkplace, a_reel, paced

CLIPS = 3


async def told_of(pubsub: PubSub, job_id: str) -> list[dict[str, Any]]:
    """Every progress of the job's clips that was published up to now."""
    told: list[dict[str, Any]] = []
    while (message := await pubsub.get_message(timeout=0.1)) is not None:
        event = json.loads(message["data"]) if message["type"] == "message" else {}
        if event.get("type") == "clip.progress" and event["job_id"] == job_id:
            told.append(event)
    return told


async def test_nothing_is_told_before_it_is_known_and_then_all_that_is_to_come(open_place: OpenWorkplace) -> None:
    workplace = await open_place(animatic=paced(0.05))
    told: list[list[dict[str, Any]]] = []
    async with workplace.services.redis.pubsub() as pubsub, workplace.worker():
        for _ in range(2):
            job_id = await workplace.submit(a_reel(clips=CLIPS, steps=10))
            await pubsub.subscribe(workplace.services.channels.job(job_id))
            await workplace.until_ended(job_id)
            told.append(await told_of(pubsub, job_id))
    first_reel, second_reel = told

    assert {event["job_eta_s"] for event in first_reel if event["clip_index"] == 0} == {None}
    assert all(event["job_eta_s"] is not None for event in second_reel)
    # Two clips more, of half a second at least.
    assert all(event["job_eta_s"] >= 1 for event in second_reel if event["clip_index"] == 0)
