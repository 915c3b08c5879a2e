"""Clips with sound through a worker: in the video of their reel, in sync, with and without a soundtrack."""

from pathlib import Path

import av
import numpy as np
import pytest

from fixtures.engine_clips import requests_of
from fixtures.flashes import FlashingClip, tone_times
from fixtures.media_files import MediaMaker
from fixtures.open_engine import OpenEngine
from fixtures.talking_model import samples_of, talking_model, write_talking_catalog
from fixtures.video_classes.ltx import RATE_HZ
from fixtures.workplace import OpenHarness, WorkerHarness, a_reel, a_stitch
from phoenix.contract import ArtifactKind, JobState, ResolvedReel, SoundtrackRequest, Transition
from phoenix.engine.interface import ClipInputs
from phoenix.jobs.tables import ArtifactRow
from phoenix.settings import EngineSettings

FPS, NUM_FRAMES, OVERLAP = 8, 9, 2


def talking_reel() -> ResolvedReel:
    """Two clips that are crossfaded for a quarter of a second."""
    reel = a_reel(clips=2, steps=1, transition=Transition(kind="crossfade", duration_s=OVERLAP / FPS))
    shape = {"width": 64, "height": 64, "fps": FPS}
    clips = [clip.model_copy(update={**shape, "num_frames": NUM_FRAMES, "guidance_scale": 1.0}) for clip in reel.clips]
    return reel.model_copy(update={**shape, "model": "talking", "clips": clips})


async def output_of(harness: WorkerHarness, job_id: str) -> ArtifactRow:
    job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    return job.output


def heard(path: Path) -> np.ndarray:
    """The left channel of a file at the rate of the model."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE_HZ)
    with av.open(str(path)) as container:
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(parts)


def expected_sound(catalog_file: Path) -> np.ndarray:
    """The left channel of the reel, from what the pipeline returns for each of its clips."""
    engine, model = OpenEngine(preview_interval_s=0), talking_model(catalog_file)
    sound = np.zeros((2 * NUM_FRAMES - OVERLAP) * RATE_HZ // FPS)
    for index, request in enumerate(requests_of([ClipInputs(clip, model) for clip in talking_reel().clips])):
        engine.render_batch([request])
        samples = samples_of(request.result())[:, 0]
        start = index * (NUM_FRAMES - OVERLAP) * RATE_HZ // FPS
        sound[start : start + len(samples)] += samples
    engine.close()
    return sound


def lag_s(sound: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """By how many seconds the sound is late, and how well it then fits, from -1 to 1."""
    length = min(len(sound), len(expected))
    one, other = sound[:length] - sound[:length].mean(), expected[:length] - expected[:length].mean()
    fits = np.correlate(one, other, "full") / np.sqrt((one**2).sum() * (other**2).sum())
    return (int(fits.argmax()) - (length - 1)) / RATE_HZ, float(fits.max())


async def test_a_reel_of_a_model_that_makes_sound_has_it_in_sync(open_harness: OpenHarness, tmp_path: Path) -> None:
    catalog_file = write_talking_catalog(tmp_path)
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        job_id = await harness.submit(talking_reel())
        output = await output_of(harness, job_id)
        clips = await harness.artifacts(job_id, ArtifactKind.CLIP)
    reel_s = (2 * NUM_FRAMES - OVERLAP) / FPS
    assert (output.info["audio_codec"], output.info["channels"], output.info["sample_rate_hz"]) == ("aac", 2, 48_000)
    assert (output.info["video_duration_s"], output.info["audio_duration_s"]) == pytest.approx(
        (reel_s, reel_s), abs=0.001
    )
    assert [clip.info["audio_duration_s"] for clip in clips] == pytest.approx([NUM_FRAMES / FPS] * 2, abs=0.001)
    late_s, fit = lag_s(heard(await harness.download(output, tmp_path)), expected_sound(catalog_file))
    assert abs(late_s) < 0.5 / FPS
    assert fit > 0.8


async def test_the_sound_of_joined_videos_is_mixed_with_a_soundtrack_or_dropped(
    harness: WorkerHarness, media: MediaMaker, tmp_path: Path
) -> None:
    flashing = await harness.upload(FlashingClip("flashing.mp4", fps="16").write(media))
    silence = await harness.upload(media.sound("silence.wav", source="anullsrc=r=48000:cl=stereo", seconds=1))
    soundtrack = SoundtrackRequest(artifact_id=silence)
    async with harness.worker("media"):
        mixed = await output_of(harness, await harness.submit(a_stitch(flashing, flashing, soundtrack=soundtrack)))
        dropped = await output_of(harness, await harness.submit(a_stitch(flashing, clip_sound="drop")))
        under = a_stitch(flashing, clip_sound="drop", soundtrack=soundtrack)
        covered = await output_of(harness, await harness.submit(under))
    assert tone_times(await harness.download(mixed, tmp_path)) == pytest.approx([1, 2, 4, 5], abs=0.02)
    assert dropped.info["audio_codec"] is None
    assert tone_times(await harness.download(covered, tmp_path)) == []
