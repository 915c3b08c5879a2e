"""Clips of remote models on a worker: they wait for a service, and do not occupy the device."""

import asyncio

from fixtures.veo_server import VeoServer
from fixtures.workplace import TIMEOUT_S, OpenHarness, WorkerHarness, a_reel
from phoenix.contract import JobState, ResolvedReel
from phoenix.jobs.lifecycle import TaskKind
from phoenix.settings import VeoSettings

FOR_EVER = 10**9
"""Times that the service says "not yet"."""


def a_veo_reel(clips: int) -> ResolvedReel:
    fields = {"width": 128, "height": 72, "fps": 24}
    reel = a_reel(clips=clips)
    made = [clip.model_copy(update={**fields, "num_frames": 96}) for clip in reel.clips]
    return reel.model_copy(update={**fields, "model": "veo-3.1", "is_remote": True, "clips": made})


async def until_under_way(server: VeoServer, count: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if len(server.under_way) >= count:
                return
            await asyncio.sleep(0.02)


async def queues_of(harness: WorkerHarness, job_id: str) -> dict[TaskKind, str]:
    return {task.kind: task.queue for task in (await harness.job(job_id)).tasks}


async def test_clips_that_a_service_renders_leave_the_device_to_others(
    open_harness: OpenHarness, veo_settings: VeoSettings, veo_server: VeoServer
) -> None:
    veo_server.questions = FOR_EVER
    harness = await open_harness(veo=veo_settings.model_copy(update={"max_concurrent": 3}))
    async with harness.worker("gpu", "remote", "media"):
        remote_id = await harness.submit(a_veo_reel(clips=5))
        await until_under_way(veo_server, 3)
        here = await harness.until_ended(await harness.submit(a_reel()))
        await harness.cancel(remote_id)
        remote = await harness.until_ended(remote_id)
    assert (here.row.state, remote.row.state) == (JobState.SUCCEEDED, JobState.CANCELED)
    assert veo_server.most_under_way == 3


async def test_a_worker_without_a_device_serves_remote_models(
    open_harness: OpenHarness, veo_settings: VeoSettings
) -> None:
    harness = await open_harness(veo=veo_settings)
    async with harness.worker("remote"), harness.worker("media"):
        job = await harness.until_ended(await harness.submit(a_veo_reel(clips=2)))
    assert job.row.state is JobState.SUCCEEDED
    assert await queues_of(harness, job.row.id) == {TaskKind.RENDER: "remote", TaskKind.ASSEMBLE: "media"}
