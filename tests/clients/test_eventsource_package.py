"""The published `eventsource` package for Node misses nothing, sees nothing twice, and stops when it is told to."""

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fixtures.client_tools import CLIENTS, Tools, last_json
from fixtures.stream_fleet import TIMEOUT_S, StreamFleet

SCRIPT = "follow_with_eventsource.mjs"


@pytest.fixture
def script_folder(node_tools: Tools, tmp_path: Path) -> Path:
    shutil.copy(CLIENTS / "node" / SCRIPT, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_tools.programs.parent)
    return tmp_path


async def until_followed(redis: Redis, job_id: str) -> None:
    """Until some replica has subscribed to the job for a client."""
    channel = f"phoenix:job:{job_id}"
    async with asyncio.timeout(TIMEOUT_S):
        while not dict(await redis.pubsub_numsub(channel))[channel.encode()]:  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.02)


async def test_a_job_is_followed_to_its_end_while_replicas_are_killed_and_restarted(
    stream_fleet: StreamFleet, redis_client: Redis, node_tools: Tools, script_folder: Path
) -> None:
    driver = stream_fleet.driver
    job_id = await driver.submit("one")

    async def follow() -> dict[str, Any]:
        urls = [replica.url for replica in stream_fleet.replicas]
        command = ("/usr/bin/env", "node", SCRIPT, f"/v1/jobs/{job_id}/events?last_event_id=0", *urls)
        return last_json(await asyncio.to_thread(node_tools.run, *command, folder=script_folder))

    following = asyncio.create_task(follow())
    for turn, how in enumerate([signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]):
        await until_followed(redis_client, job_id)
        claimed = await driver.claim(job_id)
        await driver.progress(claimed, turn, turn / 10)
        await asyncio.to_thread(stream_fleet.replicas[turn % 2].replace, how)
        await driver.hand_back(claimed)
    await until_followed(redis_client, job_id)
    await driver.finish(job_id)
    seen = await asyncio.wait_for(following, TIMEOUT_S)

    assert seen["ids"] == list(range(1, len(seen["ids"]) + 1))
    assert seen["names"][-1] == "job.succeeded"
    assert seen["opened"] >= 5
    assert seen["went_back"] == 0
    assert seen["last_status"] == 204
