"""A worker that encodes a clip: the next clip has the device, and a cancel stops the encoding."""

import pytest

from fixtures.gated_ffmpeg import GatedFfmpeg
from fixtures.workplace import OpenHarness, WorkerHarness, a_reel, slowed
from phoenix.contract import ArtifactKind, JobState
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.scheduling.workers import view_queue, view_workers
from phoenix.settings import MediaSettings


@pytest.fixture
async def harness(open_harness: OpenHarness, gated_ffmpeg: GatedFfmpeg) -> WorkerHarness:
    return await open_harness(media=MediaSettings(ffmpeg=str(gated_ffmpeg.program)))


async def clip_digest(harness: WorkerHarness) -> str:
    """Of a clip that is always the same, if nothing that went before it left a trace."""
    job_id = await harness.submit(a_reel())
    assert (await harness.until_ended(job_id)).row.state is JobState.SUCCEEDED
    (clip,) = await harness.artifacts(job_id, ArtifactKind.CLIP)
    return clip.sha256


async def test_a_clip_is_stored_at_the_rate_that_was_asked_for_and_plays_as_long_as_its_model_made_it(
    open_harness: OpenHarness,
) -> None:
    reel = a_reel(frames=8)
    clips = [clip.model_copy(update={"output_fps": 24}) for clip in reel.clips]
    harness = await open_harness()
    async with harness.worker():
        job_id = await harness.submit(reel.model_copy(update={"fps": 24, "clips": clips}))
        job = await harness.until_ended(job_id)
    assert job.output is not None, job.row.error
    info = job.output.info
    assert (info["fps"], info["num_frames"], info["duration_s"]) == (24, 12, 0.5)


async def test_the_next_clip_is_rendered_while_one_is_encoded(
    open_harness: OpenHarness, gated_ffmpeg: GatedFfmpeg
) -> None:
    harness = await open_harness(animatic=slowed(0.05), media=MediaSettings(ffmpeg=str(gated_ffmpeg.program)))
    reel = a_reel(clips=2)
    endless = reel.clips[1].model_copy(update={"steps": 10_000})
    async with harness.worker():
        job_id = await harness.submit(reel.model_copy(update={"clips": [reel.clips[0], endless]}))
        await gated_ffmpeg.until_begun()
        await harness.until_step(job_id, clip=1)
        assert not await harness.artifacts(job_id, ArtifactKind.CLIP)
        async with harness.services.database.read() as session:
            (gpu, *_) = (await view_queue(session)).queues
            (worker,) = await view_workers(session)
        gated_ffmpeg.open()
        await harness.until(job_id, lambda job: job.tasks[0].state is TaskState.SUCCEEDED)
        await harness.cancel(job_id)
        await harness.until_ended(job_id)
    assert (gpu.running, gpu.finishing, gpu.slots) == (1, 1, 1)
    assert (worker.running, worker.finishing) == ([job_id], [job_id])


async def test_a_cancel_while_a_clip_is_encoded_ends_it_and_leaves_the_next_clip_as_on_a_fresh_worker(
    harness: WorkerHarness, gated_ffmpeg: GatedFfmpeg
) -> None:
    async with harness.worker():
        canceled_id = await harness.submit(a_reel(steps=7))
        await gated_ffmpeg.until_begun()
        await harness.cancel(canceled_id)
        # The gate is still shut: nothing but the cancel can have ended it.
        job = await harness.until_ended(canceled_id)
        gated_ffmpeg.open()
        after = await clip_digest(harness)
    async with harness.worker():
        fresh = await clip_digest(harness)
    assert (job.row.state, after) == (JobState.CANCELED, fresh)
