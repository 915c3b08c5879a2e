"""Clips that are upscaled and interpolated, through a worker: their size, frames, rate, length and sound."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.engine_clips import requests_of
from fixtures.open_engine import OpenEngine
from fixtures.talking_model import samples_of, talking_model, write_talking_catalog
from fixtures.tiny_onnx import write_interpolator, write_upscaler
from fixtures.video_classes.ltx import RATE_HZ
from fixtures.workplace import OWNER, OpenHarness, WorkerHarness, a_chain, a_reel
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.clip_postprocessing import store_postprocessors
from phoenix.contract import ArtifactKind, JobState, ResolvedReel, ResolvedUpscale
from phoenix.engine.interface import ClipInputs
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.cancel_and_retry import retry
from phoenix.jobs.repository import FullJob
from phoenix.jobs.views import view_job
from phoenix.settings import EngineSettings

CATALOG = """
[[upscalers]]
id = "x2"
title = "Two"
source = "{folder}/x2.onnx"
factor = 2
tile_px = 48
overlap_px = 8

[[interpolators]]
id = "mid"
title = "Mid"
source = "{folder}/mid.onnx"
multiple = 32
"""


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    """A catalog with an upscaler and an interpolator, whose files are there."""
    write_upscaler(tmp_path / "x2.onnx")
    write_interpolator(tmp_path / "mid.onnx")
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG.format(folder=tmp_path.as_posix()))
    return file


def changed(
    reel: ResolvedReel, catalog_file: Path, *, size: tuple[int, int] | None = None, fps: int = 0, by: str | None = None
) -> ResolvedReel:
    """The reel with frames of this size by `x2`, and at this rate by the interpolator."""
    upscale = size and ResolvedUpscale(id="x2", scale=2, width=size[0], height=size[1])
    changes: dict[str, Any] = {"upscale": upscale, "interpolate": by, "output_fps": fps or None}
    clips = [clip.model_copy(update=changes) for clip in reel.clips]
    width, height = clips[0].output_size
    of_reel = {"width": width, "height": height, "fps": fps or reel.fps, "clips": clips}
    stored = store_postprocessors(clips, load_catalog(catalog_file))
    return reel.model_copy(update=of_reel | {"postprocessors": stored})


def add_entries(catalog_file: Path, other: Path) -> None:
    catalog_file.write_text(catalog_file.read_text() + other.read_text())


async def run(harness: WorkerHarness, reel: ResolvedReel) -> FullJob:
    job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    return job


async def pictures_of(harness: WorkerHarness, job: FullJob, folder: Path, index: int = 0) -> NDArray[np.int16]:
    """The frames of a clip: frames x rows x columns x colours."""
    clips = await harness.artifacts(job.row.id, ArtifactKind.CLIP)
    with av.open(str(await harness.download(clips[index], folder))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.int16)


Shape = tuple[Any, ...]


def shape_of(info: dict[str, Any]) -> Shape:
    return info["width"], info["height"], info["fps"], info["num_frames"], info["video_duration_s"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": (128, 96)}, (128, 96, 16, 8, 0.5)),
        ({"size": (96, 72)}, (96, 72, 16, 8, 0.5)),
        ({"fps": 32, "by": "mid"}, (64, 48, 32, 16, 0.5)),
        ({"fps": 24, "by": "mid"}, (64, 48, 24, 12, 0.5)),
        ({"fps": 40, "by": "motion"}, (64, 48, 40, 20, 0.5)),
        ({"size": (128, 96), "fps": 32, "by": "mid"}, (128, 96, 32, 16, 0.5)),
        ({"size": (128, 96), "fps": 32, "by": "motion"}, (128, 96, 32, 16, 0.5)),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_files_have_the_size_the_frames_and_the_length_that_were_asked_for(
    open_harness: OpenHarness, catalog_file: Path, changes: dict[str, Any], expected: Shape
) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        job = await run(harness, changed(a_reel(clips=2), catalog_file, **changes))
    clips = await harness.artifacts(job.row.id, ArtifactKind.CLIP)
    assert [shape_of(clip.info) for clip in clips] == [expected] * 2
    assert job.output is not None
    width, height, fps, num_frames, length_s = expected
    assert shape_of(job.output.info) == (width, height, fps, 2 * num_frames, 2 * length_s)


async def test_an_upscaled_clip_shows_what_the_plain_one_shows(
    open_harness: OpenHarness, catalog_file: Path, tmp_path: Path
) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        plain = await pictures_of(harness, await run(harness, a_reel()), tmp_path)
        large = await run(harness, changed(a_reel(), catalog_file, size=(128, 96)))
        again = await run(harness, changed(a_reel(), catalog_file, size=(128, 96)))
    repeated = plain.repeat(2, axis=1).repeat(2, axis=2)
    assert np.abs(await pictures_of(harness, large, tmp_path) - repeated).mean() < 4
    files = [(await harness.artifacts(job.row.id, ArtifactKind.CLIP))[0].sha256 for job in (large, again)]
    assert files[0] == files[1]


@pytest.mark.parametrize("by", ["mid", "motion"])
async def test_between_two_frames_is_a_frame_that_is_like_both(
    open_harness: OpenHarness, catalog_file: Path, tmp_path: Path, by: str
) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        plain = await pictures_of(harness, await run(harness, a_reel()), tmp_path)
        smooth = await run(harness, changed(a_reel(), catalog_file, fps=32, by=by))
        frames = await pictures_of(harness, smooth, tmp_path)
    apart = [np.abs(one - other).mean() for one, other in pairwise(plain)]
    steps = [np.abs(one - other).mean() for one, other in pairwise(frames)]
    assert max(steps) < 0.9 * max(apart)
    # The frames of the model are still there, at their times.
    assert max(np.abs(frames[2 * index] - frame).mean() for index, frame in enumerate(plain)) < 4


@pytest.mark.parametrize("by", ["mid", "motion"])
async def test_the_sound_stays_in_sync_with_upscaled_and_interpolated_frames(
    open_harness: OpenHarness, catalog_file: Path, tmp_path: Path, by: str
) -> None:
    add_entries(catalog_file, write_talking_catalog(tmp_path))
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    shape: dict[str, Any] = {"width": 64, "height": 64, "fps": 8}
    reel = a_reel(steps=1)
    clips = [clip.model_copy(update={**shape, "num_frames": 9, "guidance_scale": 1.0}) for clip in reel.clips]
    reel = reel.model_copy(update={**shape, "model": "talking", "clips": clips})
    async with harness.worker():
        job = await run(harness, changed(reel, catalog_file, size=(128, 128), fps=16, by=by))
    (clip,) = await harness.artifacts(job.row.id, ArtifactKind.CLIP)
    assert shape_of(clip.info) == (128, 128, 16, 18, 1.125)
    assert clip.info["audio_duration_s"] == pytest.approx(1.125, abs=0.001)

    engine, model = OpenEngine(preview_interval_s=0), talking_model(catalog_file)
    (request,) = requests_of([ClipInputs(reel.clips[0], model)])
    engine.render_batch([request])
    expected = samples_of(request.result())[:, 0]
    engine.close()
    late_s, fit = lag_s(heard(await harness.download(clip, tmp_path)), expected)
    assert abs(late_s) < 0.5 / 16
    assert fit > 0.8


def heard(path: Path) -> NDArray[np.float32]:
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE_HZ)
    with av.open(str(path)) as container:
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(parts)


def lag_s(sound: NDArray[np.float32], expected: NDArray[np.float32]) -> tuple[float, float]:
    """By how many seconds the sound is late, and how well it then fits, from -1 to 1."""
    length = min(len(sound), len(expected))
    one, other = sound[:length] - sound[:length].mean(), expected[:length] - expected[:length].mean()
    fits = np.correlate(one, other, "full") / np.sqrt((one**2).sum() * (other**2).sum())
    return (int(fits.argmax()) - (length - 1)) / RATE_HZ, float(fits.max())


async def test_a_clip_that_continues_an_upscaled_one_begins_with_its_last_frame(
    open_harness: OpenHarness, catalog_file: Path, tmp_path: Path
) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    reel = changed(a_chain(a_reel(clips=2)), catalog_file, size=(128, 96), fps=32, by="mid")
    async with harness.worker():
        job = await run(harness, reel)
    before, after = [await pictures_of(harness, job, tmp_path, index) for index in (0, 1)]
    assert before.shape == after.shape == (16, 96, 128, 3)
    # The lowest rows show the position in the clip.
    assert np.abs(after[0] - before[-1])[:88].mean() < 8
    assert np.abs(after[0] - before[0])[:88].mean() > np.abs(after[0] - before[-1])[:88].mean()


async def test_a_finished_clip_says_how_long_its_frames_were_changed_and_with_which_versions(
    open_harness: OpenHarness, catalog_file: Path
) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        job = await run(harness, changed(a_reel(), catalog_file, size=(128, 96)))
        plain = await run(harness, a_reel())
    (clip,), (other,) = (view_job(each.row, each.tasks, each.output).clips for each in (job, plain))
    assert clip.timings.postprocess_s is not None
    assert clip.timings.encode_s is not None
    assert other.timings.postprocess_s is None
    assert clip.made_with.keys() - other.made_with.keys() == {"onnxruntime"}


Break = Callable[[Path], object]


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (lambda file: file.unlink(), "this worker cannot read"),
        (lambda file: file.write_bytes(b"a pickle"), "onnxruntime cannot read"),
        (lambda file: write_upscaler(file, factor=3), "its entry says factor 2; set factor to 3"),
    ],
)
async def test_a_clip_with_an_unusable_upscaler_fails_before_a_frame_is_made(
    open_harness: OpenHarness, catalog_file: Path, tmp_path: Path, breaks: Break, why: str
) -> None:
    breaks(tmp_path / "x2.onnx")
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(changed(a_reel(), catalog_file, size=(128, 96))))
    assert job.row.error is not None
    assert (job.row.error["code"], job.row.error["stage"]) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD)
    assert why in job.row.error["message"]


async def test_a_retry_upscales_as_the_first_attempt_would_have(
    open_harness: OpenHarness, catalog_file: Path, tmp_path: Path
) -> None:
    source = tmp_path / "x2.onnx"
    await asyncio.to_thread(source.unlink)
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))
    async with harness.worker():
        failed = await harness.until_ended(await harness.submit(changed(a_reel(), catalog_file, size=(128, 96))))
        assert failed.row.state is JobState.FAILED
        write_upscaler(source)
        async with harness.services.database.write() as uow:
            await retry(uow, failed.row.id, owner_id=OWNER, queue_timeout_s=60)
        job = await harness.until(failed.row.id, lambda job: job.row.state is JobState.SUCCEEDED)
    assert job.output is not None
    assert (job.output.info["width"], job.output.info["height"]) == (128, 96)
