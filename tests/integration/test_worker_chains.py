"""Clips that continue another clip, through a worker: each begins with the last frame of the stored file before it."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.gated_ffmpeg import GatedFfmpeg
from fixtures.talking_model import write_talking_catalog
from fixtures.tiny_pipelines import TinyPipelines, tiny_catalog_toml
from fixtures.workplace import OpenHarness, WorkerHarness, a_chain, a_reel, a_wan_reel, occupied_slot, slowed
from phoenix.contract import ConditionSource, JobState, ResolvedCondition, ResolvedExtension, ResolvedReel
from phoenix.engine.backends.animatic.engine import AnimaticEngine
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderObserver
from phoenix.errors import FailureCode
from phoenix.jobs.artifacts import get_clip
from phoenix.jobs.cancel_and_retry import retry
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.repository import FullJob
from phoenix.media.decode import write_last_frame
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits
from phoenix.settings import EngineSettings, MediaSettings, WorkerSettings
from phoenix.storage.keys import upload_key

MODEL = "tiny-wan-i2v"


@pytest.fixture
def engine(tiny_pipelines: TinyPipelines, tmp_path: Path) -> EngineSettings:
    file = tmp_path / "catalog.toml"
    file.write_text(tiny_catalog_toml({"wan_i2v": tiny_pipelines("wan_i2v")}))
    return EngineSettings(catalog_file=file)


def a_wan_chain(*, clips: int, first: ConditionSource) -> ResolvedReel:
    return a_chain(a_wan_reel(clips=clips).model_copy(update={"model": MODEL}), first)


async def run(harness: WorkerHarness, reel: ResolvedReel) -> FullJob:
    job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    return job


async def download_clip(harness: WorkerHarness, job: FullJob, index: int, folder: Path) -> Path:
    async with harness.services.database.read() as session:
        clip = await get_clip(session, job, index)
    return await harness.download(clip, folder)


def pictures(path: Path) -> list[NDArray[np.int16]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.int16) for frame in container.decode(video=0)]


async def attempts_of(harness: WorkerHarness, job: FullJob) -> list[int]:
    """How many attempts each clip took."""
    return [len(await harness.attempts(task.id)) for task in job.tasks if task.kind == "render"]


async def test_a_clip_begins_with_the_last_frame_of_the_clip_before(harness: WorkerHarness, tmp_path: Path) -> None:
    async with harness.worker():
        job = await run(harness, a_chain(a_reel(clips=2)))

    before, after = [pictures(await download_clip(harness, job, index, tmp_path)) for index in (0, 1)]
    # The lowest row shows the position in the clip.
    difference = np.abs(after[0] - before[-1])[:44].mean()
    assert difference < 4
    assert np.abs(after[0] - before[0])[:44].mean() > 2 * difference


async def test_a_model_gets_exactly_the_last_frame_of_the_stored_clip(
    open_harness: OpenHarness, engine: EngineSettings, first_frame: Path, tmp_path: Path, media_tools: MediaTools
) -> None:
    harness = await open_harness(engine=engine)
    async with harness.worker():
        picture = await harness.upload(first_frame)
        chain = await run(harness, a_wan_chain(clips=2, first=ConditionSource(artifact_id=picture)))
        clip = await download_clip(harness, chain, 0, tmp_path)
        await asyncio.to_thread(write_last_frame, clip, tmp_path / "last.png", tools=media_tools, limits=ProbeLimits())
        by_hand = a_wan_chain(clips=2, first=ConditionSource(artifact_id=await harness.upload(tmp_path / "last.png")))
        second = by_hand.clips[1].model_copy(update={"conditions": by_hand.clips[0].conditions})
        alone = await run(harness, by_hand.model_copy(update={"clips": [by_hand.clips[0], second]}))

    expected, found = [await download_clip(harness, job, 1, tmp_path) for job in (alone, chain)]
    other = await download_clip(harness, alone, 0, tmp_path)
    assert found.read_bytes() == expected.read_bytes() != other.read_bytes()


async def test_a_video_of_the_clip_before_ends_with_that_clip(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    videos: list[NDArray[np.uint8]] = []
    render = AnimaticEngine.render

    def render_and_record(self: AnimaticEngine, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        if (video := inputs.find("source_video")) is not None:
            videos.append(np.fromfile(video.path, np.uint8).reshape(-1, 48, 64, 3))
        return render(self, inputs, observer)

    monkeypatch.setattr(AnimaticEngine, "render", render_and_record)
    first, second = a_reel(clips=2, frames=12).clips
    source = ResolvedCondition(role="source_video", source=ConditionSource(previous_clip=True))
    second = second.model_copy(update={"num_frames": 8, "conditions": [source]})
    async with harness.worker():
        job = await run(harness, a_reel().model_copy(update={"clips": [first, second]}))

    expected = pictures(await download_clip(harness, job, 0, tmp_path))[-8:]
    (found,) = videos
    assert np.abs(found.astype(np.int16) - np.stack(expected)).mean() < 1


async def test_a_clip_of_another_job_is_continued_from_its_end(harness: WorkerHarness, tmp_path: Path) -> None:
    async with harness.worker():
        earlier = await run(harness, a_reel())
        source = ConditionSource(job_id=earlier.row.id, clip_index=0)
        frame = ResolvedCondition(role="first_frame", source=source, clip_artifact_id=earlier.tasks[0].artifact_id)
        reel = a_reel()
        reel = reel.model_copy(update={"clips": [reel.clips[0].model_copy(update={"conditions": [frame], "seed": 9})]})
        later = await run(harness, reel)

    end, start = [pictures(await download_clip(harness, job, 0, tmp_path)) for job in (earlier, later)]
    assert np.abs(start[0] - end[-1])[:44].mean() < 4


async def test_a_retry_of_the_second_clip_does_not_render_the_first_again(
    open_harness: OpenHarness, gated_ffmpeg: GatedFfmpeg, tmp_path: Path
) -> None:
    slots = tmp_path / "slots"
    slots.mkdir()
    media, worker = MediaSettings(ffmpeg=str(gated_ffmpeg.program)), WorkerSettings(slots_dir=slots)
    harness = await open_harness(media=media, worker=worker)
    async with harness.worker():
        job_id = await harness.submit(a_chain(a_reel(clips=2)))
        # The first clip has left the device, and the second one waits for the first.
        await gated_ffmpeg.until_begun()
        with occupied_slot(slots):
            gated_ffmpeg.open()
            await harness.until(job_id, lambda job: job.tasks[1].state is TaskState.RUNNING)
            await harness.cancel(job_id)
            await harness.until_ended(job_id)
        async with harness.services.database.write() as uow:
            await retry(uow, job_id, owner_id="anyone", queue_timeout_s=60)
        job = await harness.until_ended(job_id)

    assert job.row.state is JobState.SUCCEEDED
    assert await attempts_of(harness, job) == [1, 2]


async def test_a_worker_that_ends_between_two_clips_loses_nothing(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.05))
    async with harness.worker() as shutdown:
        job_id = await harness.submit(a_chain(a_reel(clips=2)))
        await harness.until(job_id, lambda job: job.tasks[0].state is TaskState.SUCCEEDED)
        # As after SIGQUIT: what runs is given up.
        shutdown.request()
        shutdown.request()
    async with harness.worker():
        job = await harness.until_ended(job_id)

    assert job.row.state is JobState.SUCCEEDED
    assert (await attempts_of(harness, job))[0] == 1


async def test_a_first_clip_that_fails_leaves_no_clip_waiting(harness: WorkerHarness, first_frame: Path) -> None:
    picture = await harness.upload(first_frame)
    await harness.services.store.delete(upload_key(picture))  # pyright: ignore[reportArgumentType]
    async with harness.worker():
        job = await harness.until_ended(
            await harness.submit(a_chain(a_reel(clips=2), ConditionSource(artifact_id=picture)))
        )

    assert job.row.state is JobState.FAILED
    assert [task.state for task in job.tasks] == [TaskState.FAILED, TaskState.CANCELED, TaskState.CANCELED]
    assert (await attempts_of(harness, job))[1] == 0
    assert job.row.error is not None
    assert job.row.error["code"] == FailureCode.STORAGE_FAILED


async def test_an_extended_clip_comes_first_in_the_result_with_the_sound_of_both(
    open_harness: OpenHarness, tmp_path: Path
) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=write_talking_catalog(tmp_path)))
    shape = {"width": 64, "height": 64, "fps": 8}
    reel = a_reel(steps=1)
    clip = reel.clips[0].model_copy(update={**shape, "num_frames": 9, "guidance_scale": 1.0})
    reel = reel.model_copy(update={**shape, "model": "talking", "clips": [clip]})
    async with harness.worker():
        earlier = await run(harness, reel)
        file = earlier.tasks[0].artifact_id
        assert file is not None
        extended = ResolvedExtension(job_id=earlier.row.id, clip_index=0, artifact_id=file, duration_s=9 / 8)
        later = await run(harness, reel.model_copy(update={"extends": extended}))

    assert later.output is not None
    assert later.output.info["num_frames"] == 18
    assert later.output.info["audio_duration_s"] == pytest.approx(18 / 8, abs=0.001)
    video = await harness.download(later.output, tmp_path)
    before = await download_clip(harness, earlier, 0, tmp_path)
    assert all(np.array_equal(one, other) for one, other in zip(pictures(video), pictures(before), strict=False))
