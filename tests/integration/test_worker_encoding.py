"""What a worker does while a clip is being encoded: the device is the next clip's, and a cancel is heard."""

import pytest

from fixtures.gated_ffmpeg import GatedFfmpeg
from fixtures.workplace import OpenWorkplace, Workplace, a_reel
from phoenix.contract.artifacts import ArtifactKind
from phoenix.contract.jobs import JobState
from phoenix.settings import MediaSettings


@pytest.fixture
async def workplace(open_place: OpenWorkplace, gated_ffmpeg: GatedFfmpeg) -> Workplace:
    return await open_place(media=MediaSettings(ffmpeg=str(gated_ffmpeg.program)))


async def clip_digest(workplace: Workplace) -> str:
    """Of a clip that is always the same, if nothing that went before it left a trace."""
    job_id = await workplace.submit(a_reel())
    assert (await workplace.until_ended(job_id)).row.state is JobState.SUCCEEDED
    (clip,) = await workplace.artifacts(job_id, ArtifactKind.CLIP)
    return clip.sha256


async def test_the_next_clip_is_rendered_while_one_is_encoded(workplace: Workplace, gated_ffmpeg: GatedFfmpeg) -> None:
    async with workplace.worker():
        job_id = await workplace.submit(a_reel(clips=2))
        await gated_ffmpeg.until_begun()
        await workplace.until_step(job_id, 4, clip=1)
        assert not await workplace.artifacts(job_id, ArtifactKind.CLIP)
        gated_ffmpeg.open()
        job = await workplace.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED


async def test_a_cancel_while_a_clip_is_encoded_ends_it_and_leaves_the_next_clip_as_on_a_fresh_worker(
    workplace: Workplace, gated_ffmpeg: GatedFfmpeg
) -> None:
    async with workplace.worker():
        canceled_id = await workplace.submit(a_reel(steps=7))
        await gated_ffmpeg.until_begun()
        await workplace.cancel(canceled_id)
        # The gate is still shut: nothing but the cancel can have ended it.
        job = await workplace.until_ended(canceled_id)
        gated_ffmpeg.open()
        after = await clip_digest(workplace)
    async with workplace.worker():
        fresh = await clip_digest(workplace)
    assert (job.row.state, after) == (JobState.CANCELED, fresh)
