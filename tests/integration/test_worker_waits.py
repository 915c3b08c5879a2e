"""What a client reads of a claimed clip that waits on its worker: for its model, or for room on the device."""

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from redis.asyncio.client import PubSub

from fixtures.redis_server import read_published
from fixtures.workplace import OWNER, TIMEOUT_S, OpenHarness, WorkerHarness, a_reel, a_wan_reel, occupied_slot
from phoenix.api.background.queue_positions import QueuePositionPublisher
from phoenix.api.job_views import JobViews
from phoenix.contract import Job, JobState, WaitingCode
from phoenix.engine.backends.diffusers.loading import LOAD_LOCK
from phoenix.services import Services
from phoenix.settings import EngineSettings, SchedulerSettings, WorkerSettings

# The next renewal that is due comes after the test: a stage is reported because it changed.
RARE = SchedulerSettings(lease_s=3 * TIMEOUT_S, heartbeat_s=1.2 * TIMEOUT_S)


async def until(harness: WorkerHarness, job_id: str, is_so: Callable[[Job], bool]) -> Job:
    """The job as a client reads it, once it is so."""
    services = harness.services
    job_views = JobViews(services.database, services.publisher, services.queue_positions)
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if is_so(job := await job_views.fetch(job_id, OWNER)):
                return job
            await asyncio.sleep(0.02)


def waits_with(code: WaitingCode) -> Callable[[Job], bool]:
    return lambda job: job.waiting_reason is not None and job.waiting_reason.code is code


async def queue_events(services: Services, stream: PubSub, job_id: str) -> list[dict[str, Any]]:
    """The events `job.queue` that have been published."""
    published = await read_published(services.redis, stream, services.channels.job(job_id))
    return [event for event in map(json.loads, published) if event["type"] == "job.queue"]


async def test_a_clip_whose_model_is_being_loaded_says_so(open_harness: OpenHarness, tiny_wan_catalog: Path) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=tiny_wan_catalog), scheduler=RARE)
    job_id = await harness.submit(a_wan_reel(clips=1))
    async with harness.worker():
        with LOAD_LOCK:
            loading = await until(harness, job_id, waits_with(WaitingCode.LOADING_MODEL))
        ended = await harness.until_ended(job_id)

    assert (loading.state, loading.queue_position, ended.row.state) == (JobState.RUNNING, None, JobState.SUCCEEDED)


async def test_a_clip_on_a_device_without_a_free_slot_says_so_until_it_is_rendered(
    open_harness: OpenHarness, tmp_path: Path
) -> None:
    slots = tmp_path / "slots"
    slots.mkdir()
    harness = await open_harness(worker=WorkerSettings(slots_dir=slots), scheduler=RARE)
    job_id = await harness.submit(a_reel(steps=2))
    async with harness.worker("gpu"):
        with occupied_slot(slots):
            await until(harness, job_id, waits_with(WaitingCode.NO_ROOM_ON_DEVICE))
        # Without a media worker, the job waits for one as soon as its clip is done.
        await until(harness, job_id, waits_with(WaitingCode.NO_WORKER_FOR_QUEUE))


async def test_a_stream_hears_what_a_claimed_clip_waits_for(open_harness: OpenHarness, tmp_path: Path) -> None:
    harness = await open_harness(worker=WorkerSettings(slots_dir=tmp_path), scheduler=RARE)
    services = harness.services
    positions = QueuePositionPublisher(services.database, services.publisher, services.queue_positions)
    job_id = await harness.submit(a_reel(steps=2))
    async with services.redis.pubsub() as stream:
        await stream.subscribe(services.channels.job(job_id))
        async with harness.worker("gpu"):
            for code in (WaitingCode.NO_ROOM_ON_DEVICE, WaitingCode.NO_WORKER_FOR_QUEUE):
                with occupied_slot(tmp_path) if code is WaitingCode.NO_ROOM_ON_DEVICE else nullcontext():
                    await until(harness, job_id, waits_with(code))
                    await positions.publish()
        codes = [each["waiting_reason"]["code"] for each in await queue_events(services, stream, job_id)]

    assert codes == [WaitingCode.NO_ROOM_ON_DEVICE, WaitingCode.NO_WORKER_FOR_QUEUE]
