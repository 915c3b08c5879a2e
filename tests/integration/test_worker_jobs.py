"""Whole jobs through a worker: clips rendered, sound prepared, results assembled, stored and playable."""

import asyncio
import io
import tempfile
from pathlib import Path

import pytest
from pydantic import HttpUrl

from fixtures.log_lines import lines_about
from fixtures.media_files import MediaMaker, decode
from fixtures.workplace import OWNER, TIMEOUT_S, OpenHarness, WorkerHarness, a_reel, a_soundtrack, a_stitch, slowed
from phoenix.contract import ArtifactKind, ClipTimings, JobState, MediaInfo, SoundtrackRequest, Transition
from phoenix.jobs.artifacts import get_thumbnail
from phoenix.jobs.event_log.reader import replay
from phoenix.jobs.repository import FullJob, get_artifact
from phoenix.jobs.scheduling.workers import list_live
from phoenix.queues.queue import wake_channel
from phoenix.settings import EngineSettings


async def finished(harness: WorkerHarness, job_id: str) -> FullJob:
    job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    return job


async def test_a_reel_becomes_one_playable_video(harness: WorkerHarness, tmp_path: Path) -> None:
    async with harness.worker():
        job = await finished(harness, await harness.submit(a_reel(clips=3)))
    assert job.output is not None
    decoded = decode(await harness.download(job.output, tmp_path))
    assert (decoded.num_frames, decoded.width, decoded.height) == (24, 64, 48)


async def test_a_result_comes_with_a_thumbnail(harness: WorkerHarness) -> None:
    async with harness.worker():
        job = await finished(harness, await harness.submit(a_reel()))
    assert job.output is not None
    async with harness.services.database.read() as session:
        thumbnail = await get_thumbnail(session, job)
    chunks = [chunk async for chunk in harness.services.store.read(thumbnail.key)]
    assert chunks[0].startswith(b"\xff\xd8\xff")


async def test_the_sound_of_a_reel_is_as_long_as_its_picture(
    harness: WorkerHarness, media: MediaMaker, tmp_path: Path
) -> None:
    sound = await harness.upload(media.sound("song.mp3", seconds=5))
    reel = a_reel(
        clips=2,
        frames=16,
        transition=Transition(kind="crossfade", duration_s=0.25),
        soundtrack=SoundtrackRequest(artifact_id=sound),
    )
    async with harness.worker():
        job = await finished(harness, await harness.submit(reel))
    assert job.output is not None
    decoded = decode(await harness.download(job.output, tmp_path))
    assert decoded.duration_s == pytest.approx(1.75)
    assert decoded.sound_s == pytest.approx(1.75, abs=0.05)


async def test_a_stitch_joins_uploads_with_sound_as_long_as_they_are(
    harness: WorkerHarness, media: MediaMaker, tmp_path: Path
) -> None:
    parts = [await harness.upload(media.video(name, frames=16)) for name in ("a.mp4", "b.mp4")]
    sound = await harness.upload(media.sound("song.wav", seconds=1))
    stitch = a_stitch(*parts, soundtrack=SoundtrackRequest(artifact_id=sound))
    async with harness.worker("media"):
        job = await finished(harness, await harness.submit(stitch))
    assert job.output is not None
    decoded = decode(await harness.download(job.output, tmp_path))
    assert decoded.num_frames == 32
    assert decoded.sound_s == pytest.approx(2, abs=0.05)


async def test_a_soundtrack_job_makes_an_audio_output_of_the_length_asked_for(
    harness: WorkerHarness, media: MediaMaker
) -> None:
    sound = await harness.upload(media.sound("song.flac", seconds=2))
    async with harness.worker("media"):
        job = await finished(harness, await harness.submit(a_soundtrack(sound, duration_s=3)))
    assert job.output is not None
    info = MediaInfo.model_validate(job.output.info)
    assert (job.output.media_type, job.output.kind) == ("audio/mp4", ArtifactKind.OUTPUT)
    assert info.duration_s == pytest.approx(3, abs=0.05)


async def test_broken_sound_fails_the_job_without_another_try(harness: WorkerHarness, media: MediaMaker) -> None:
    artifact_id = await harness.upload(media.sound("song.wav"))
    async with harness.services.database.write() as uow:
        row = await get_artifact(uow.session, artifact_id, owner_id=OWNER)
        broken = media.folder / "broken"
        broken.write_bytes(b"RIFF" + b"\0" * 40)
        await harness.services.store.put_file(row.key, broken)
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_soundtrack(artifact_id)))
    assert job.row.state is JobState.FAILED
    assert (job.row.error or {})["code"] == "MEDIA_INVALID"
    assert job.tasks[0].attempt == 1


async def test_a_clip_shows_where_its_time_went(harness: WorkerHarness) -> None:
    async with harness.worker():
        job = await finished(harness, await harness.submit(a_reel()))
    timings = ClipTimings.model_validate(job.tasks[0].timings)
    assert timings.total_s is not None
    stages = [timings.denoise_s, timings.encode_s, timings.upload_s]
    assert all(seconds is not None and seconds <= timings.total_s for seconds in stages)


async def test_clips_of_one_seed_have_the_same_bytes(harness: WorkerHarness) -> None:
    async with harness.worker():
        first = await harness.submit(a_reel())
        second = await harness.submit(a_reel())
        await finished(harness, first)
        await finished(harness, second)
    digests = {(await harness.artifacts(job_id, ArtifactKind.CLIP))[0].sha256 for job_id in (first, second)}
    assert len(digests) == 1


async def test_the_log_of_a_reel_has_every_clip_in_order(harness: WorkerHarness) -> None:
    async with harness.worker():
        job = await finished(harness, await harness.submit(a_reel(clips=2)))
    async with harness.services.database.read() as session:
        events = await replay(session, job.row.id, 0)
    types = [event.type for event in events]
    assert types[:2] == ["job.queued", "job.started"]
    assert types[-2:] == ["job.assembling", "job.succeeded"]
    assert sorted(types[2:-2]) == ["clip.started", "clip.started", "clip.succeeded", "clip.succeeded"]


async def test_progress_of_a_clip_ends_at_the_whole(harness: WorkerHarness) -> None:
    async with harness.worker("gpu"):
        job_id = await harness.submit(a_reel(steps=5))
        await harness.until(job_id, lambda job: job.tasks[0].artifact_id is not None)
    progress = (await harness.services.publisher.read_progress([job_id]))[job_id].clips[0]
    assert (progress.step, progress.steps, progress.progress, progress.attempt) == (5, 5, 1.0, 1)


async def test_a_worker_leaves_neither_files_nor_a_registration_behind(
    harness: WorkerHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    async with harness.worker():
        await finished(harness, await harness.submit(a_reel()))
    async with harness.services.database.read() as session:
        assert await list_live(session) == []
    assert list(scratch.iterdir()) == []


async def test_a_soundtrack_is_not_fetched_from_inside_the_network(harness: WorkerHarness) -> None:
    url = HttpUrl("https://127.0.0.1/song.mp3")
    async with harness.worker():
        job_id = await harness.submit(a_reel(soundtrack=SoundtrackRequest(url=url)))
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.FAILED
    assert ((job.row.error or {})["code"], (job.row.error or {})["stage"]) == ("MEDIA_INVALID", "fetch")


async def test_a_clip_is_in_the_log_from_its_beginning_on(open_harness: OpenHarness, log_lines: io.StringIO) -> None:
    harness = await open_harness(animatic=slowed(0.05))
    async with harness.worker("gpu"):
        job_id = await harness.submit(a_reel(steps=2000))
        await harness.until_step(job_id)
        (line,) = lines_about(log_lines, "the attempt began")
        await harness.cancel(job_id)
        task = (await harness.until_ended(job_id)).tasks[0]
    assert (line["job_id"], line["task_id"], line["attempt"]) == (job_id, task.id, 1)
    assert (line["kind"], line["clip_index"], line["model"]) == ("render", 0, "animatic")


async def test_a_clip_is_shown_while_it_is_made(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.02), engine=EngineSettings(preview_interval_s=0.05))
    job_id = await harness.submit(a_reel(steps=50))
    async with harness.services.redis.pubsub() as pubsub:
        await pubsub.subscribe(harness.services.channels.job(job_id))
        async with harness.worker("gpu"), asyncio.timeout(100):
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                if message is not None and b'"clip.preview"' in message["data"]:
                    break
    assert b"data:image/jpeg;base64," in message["data"]


async def test_a_worker_listens_for_the_messages_of_its_queues(harness: WorkerHarness) -> None:
    """Whoever enqueues publishes there, and that wakes an idle consumer long before its next poll."""
    channels = [wake_channel(harness.settings.redis.prefix, queue) for queue in ("gpu", "media")]
    async with harness.worker("gpu", "media"), asyncio.timeout(TIMEOUT_S):
        while {count for _, count in await harness.services.redis.pubsub_numsub(*channels)} != {1}:  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.02)
