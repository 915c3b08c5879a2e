"""Clips of remote models on a worker: they wait for a service, and do not occupy the device."""

import asyncio
import base64
import io
from typing import Any

import pytest
from PIL import Image, ImageStat

from fixtures.veo_server import BEGIN, INTERACTIONS, VeoServer
from fixtures.workplace import TIMEOUT_S, OpenHarness, WorkerHarness, a_reel
from phoenix.contract import ConditionSource, JobState, ResolvedCondition, ResolvedReel
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


@pytest.mark.parametrize(("model", "verb"), [("veo-3.1", BEGIN), ("gemini-omni-1.2-flash", INTERACTIONS)])
async def test_the_end_of_a_remote_clip_is_sent_as_the_first_frame_of_the_next(
    open_harness: OpenHarness, veo_settings: VeoSettings, veo_server: VeoServer, model: str, verb: str
) -> None:
    reel = a_veo_reel(clips=2).model_copy(update={"model": model})
    begins = ResolvedCondition(role="first_frame", source=ConditionSource(previous_clip=True))
    clips = [reel.clips[0], reel.clips[1].model_copy(update={"conditions": [begins]})]
    harness = await open_harness(veo=veo_settings)
    async with harness.worker("remote"), harness.worker("media"):
        job = await harness.until_ended(await harness.submit(reel.model_copy(update={"clips": clips})))
    assert job.row.state is JobState.SUCCEEDED
    first, second = veo_server.bodies(verb)
    assert pictures_in(first) == []
    (data,) = pictures_in(second)
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (128, 72)
        # Frame n of the video has the grey level 2n, of 219.
        assert ImageStat.Stat(picture).mean == pytest.approx([190 * 255 / 219] * 3, abs=4)


def pictures_in(body: dict[str, Any]) -> list[str]:
    """The pictures of a request to either interface, in base64."""
    if "instances" in body:
        return [image["bytesBase64Encoded"] for image in [body["instances"][0].get("image")] if image]
    return [each["data"] for each in body["input"][0]["content"] if each["type"] == "image"]
