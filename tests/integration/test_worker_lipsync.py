"""Lip-syncs through a worker: the mouth follows the sound, lengths, kept frames, own files, faults and a cancel."""

import asyncio
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fixtures.media_files import MediaMaker, decode, sound_levels
from fixtures.tiny_lips import syllables, write_detector, write_wav2lip
from fixtures.workplace import TIMEOUT_S, OpenHarness, WorkerHarness
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.lipsync_validation import admit_lipsync
from phoenix.contract import ArtifactKind, JobState, LipsyncRequest, MediaInfo
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.repository import FullJob
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Speech
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.settings import EngineSettings, LipsyncSettings

BOX = {"x": 32, "y": 16, "width": 96, "height": 96}
SKIN = (214, 170, 146)


@pytest.fixture
def face(tmp_path: Path) -> Path:
    """A picture of 160x128 pixels with a face of plain skin."""
    picture = np.full((128, 160, 3), (30, 90, 160), np.uint8)
    picture[16:112, 32:128] = SKIN
    Image.fromarray(picture).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.fixture
def face_video(media: MediaMaker, face: Path) -> Path:
    """Of one second at 20 frames a second, without sound."""
    path = media.folder / "face.mp4"
    still = ("-loop", "1", "-framerate", "20", "-i", str(face), "-frames:v", "20")
    media.ffmpeg(*still, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path))
    return path


def write_speech(media: MediaMaker, speech: Speech) -> Path:
    raw, path = media.folder / "speech.raw", media.folder / "speech.wav"
    raw.write_bytes(speech.samples.astype("<f4").tobytes())
    media.ffmpeg("-f", "f32le", "-ar", str(SPEECH_RATE_HZ), "-ac", "1", "-i", str(raw), str(path))
    return path


async def submit(harness: WorkerHarness, video: Path, audio: Path, **fields: Any) -> str:
    files = {name: await harness.upload(path) for name, path in (("video", video), ("audio", audio))}
    info: dict[str, MediaInfo] = {
        files[name]: probe_media(path, ProbeLimits()) for name, path in (("video", video), ("audio", audio))
    }
    body = {**files, "box": BOX, **fields}
    settings = harness.settings
    resolved = admit_lipsync(
        LipsyncRequest.model_validate({name: value for name, value in body.items() if value is not None}),
        load_catalog(settings.engine.catalog_file),
        default_model="drawn-mouth",
        finds_faces=settings.lipsync.face_detector is not None,
        max_duration_s=600,
        part_s=settings.lipsync.part_s,
        media=info,
    )
    return await harness.submit(resolved)


async def run(harness: WorkerHarness, video: Path, audio: Path, **fields: Any) -> FullJob:
    job_id = await submit(harness, video, audio, **fields)
    async with harness.worker():
        return await harness.until_ended(job_id)


async def result_of(harness: WorkerHarness, job: FullJob, folder: Path) -> Path:
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    (output,) = await harness.artifacts(job.row.id, ArtifactKind.OUTPUT)
    return await harness.download(output, folder)


def pictures_of(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.int16)


def openings(pictures: NDArray[np.int16]) -> NDArray[np.float64]:
    """How many dark pixels are in the middle of the face, frame by frame."""
    return (pictures[:, 60:112, 70:90].sum(axis=3) < 200).sum(axis=(1, 2)).astype(np.float64)


async def test_the_mouth_of_a_picture_opens_with_the_energy_of_the_sound(
    harness: WorkerHarness, media: MediaMaker, face: Path, tmp_path: Path
) -> None:
    speech = syllables(4)
    job = await run(harness, face, write_speech(media, speech))
    path = await result_of(harness, job, tmp_path)
    shown = openings(pictures_of(path))
    energy = [np.sqrt(np.mean(speech.part(index / 25, (index + 1) / 25) ** 2)) for index in range(100)]
    assert len(shown) == 100
    assert np.corrcoef(energy, shown)[0, 1] > 0.9
    assert max(sound_levels(path)) > 0.2
    assert await harness.artifacts(job.row.id, ArtifactKind.THUMBNAIL)
    (task,) = job.tasks
    assert task.progress is not None
    assert task.progress["step"] == task.progress["steps"] == 100


async def test_the_face_is_shown_while_it_is_made(open_harness: OpenHarness, media: MediaMaker, face: Path) -> None:
    harness = await open_harness(engine=EngineSettings(preview_interval_s=0.01))
    job_id = await submit(harness, face, write_speech(media, syllables(60)))
    async with harness.services.redis.pubsub() as pubsub:
        await pubsub.subscribe(harness.services.channels.job(job_id))
        async with harness.worker(), asyncio.timeout(TIMEOUT_S):
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                if message is not None and b'"clip.preview"' in message["data"]:
                    break
            await harness.cancel(job_id)
            await harness.until_ended(job_id)
    assert b"data:image/jpeg;base64," in message["data"]


@pytest.mark.parametrize(
    ("when_shorter", "frames", "part_s"), [("loop", 50, 60), ("loop", 50, 1), ("hold", 50, 1), ("trim", 20, 60)]
)
async def test_a_video_that_is_shorter_than_the_sound_is_made_to_fit(
    open_harness: OpenHarness, media: MediaMaker, tmp_path: Path, when_shorter: str, frames: int, part_s: float
) -> None:
    harness = await open_harness(lipsync=LipsyncSettings(part_s=part_s))
    ramp = media.folder / "ramp.mp4"
    graph = "color=black:s=160x128:r=20:d=1,geq=lum=40+N*9:cb=128:cr=128"
    media.ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(ramp))
    sound = write_speech(media, syllables(2.5))
    job = await run(harness, ramp, sound, when_shorter=when_shorter)
    made = await result_of(harness, job, tmp_path)
    found = decode(made)
    assert (found.num_frames, found.width, found.height) == (frames, 160, 128)
    assert found.sound_s == pytest.approx(frames / 20, abs=0.05)
    shades = pictures_of(made)[:, 4, 4, 0]
    assert shades[0] < shades[10] < shades[19]
    if when_shorter == "loop":
        assert abs(shades[20] - shades[0]) <= 3
        assert abs(shades[45] - shades[5]) <= 3
    if when_shorter == "hold":
        assert abs(shades[20:] - shades[19]).max() <= 3


async def test_a_long_lip_sync_is_made_in_parts_as_it_is_made_at_once(
    open_harness: OpenHarness, media: MediaMaker, face: Path, tmp_path: Path
) -> None:
    speech = syllables(2.6)
    harness = await open_harness(lipsync=LipsyncSettings(part_s=1))
    sound = write_speech(media, speech)
    job = await run(harness, face, sound)
    assert [task.kind for task in job.tasks] == [*[TaskKind.LIPSYNC] * 3, TaskKind.ASSEMBLE]
    made = pictures_of(await result_of(harness, job, tmp_path))
    whole = await open_harness()
    expected = pictures_of(await result_of(whole, await run(whole, face, sound), tmp_path))
    assert made.shape == expected.shape == (65, 128, 160, 3)
    assert abs(made - expected).mean(axis=(1, 2, 3)).max() < 1
    assert len(await harness.artifacts(job.row.id, ArtifactKind.CLIP)) == 3
    assert len(await harness.artifacts(job.row.id, ArtifactKind.THUMBNAIL)) == 1


async def test_parts_without_a_face_fail_only_together(
    open_harness: OpenHarness, media: MediaMaker, tmp_path: Path
) -> None:
    """The first half of the video is dark, and the second half white, which is a face to the detector."""
    halves = media.folder / "halves.mp4"
    graph = "color=black:s=160x128:r=20:d=2,geq=lum='if(lt(N,20),16,235)':cb=128:cr=128"
    media.ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(halves))
    detector = write_detector(tmp_path / "faces.onnx")
    harness = await open_harness(lipsync=LipsyncSettings(face_detector=str(detector), part_s=1))
    sound = write_speech(media, syllables(2))
    job = await run(harness, halves, sound, box=None)
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert [bool(task.checks) for task in job.tasks] == [True, False, False]
    dark = await run(harness, media.video("dark.mp4", size="160x128", source="color=black"), sound, box=None)
    assert dark.row.error is not None
    assert (dark.row.error["code"], dark.row.error["stage"]) == (FailureCode.MEDIA_INVALID, Stage.ASSEMBLE)


async def test_the_sound_of_the_video_can_be_kept(harness: WorkerHarness, media: MediaMaker, tmp_path: Path) -> None:
    video = media.video_with_sound("talk.mp4", seconds=1)
    silence = write_speech(media, Speech(np.zeros(SPEECH_RATE_HZ, np.float32)))
    box = {"x": 10, "y": 0, "width": 60, "height": 70}
    job = await run(harness, video, silence, sound="keep", box=box)
    assert max(sound_levels(await result_of(harness, job, tmp_path))) > 0.05


async def test_a_file_of_the_operator_changes_faces_in_sound_and_nothing_else(
    open_harness: OpenHarness, media: MediaMaker, face_video: Path, tmp_path: Path
) -> None:
    catalog, source = tmp_path / "catalog.toml", write_wav2lip(tmp_path / "lips.onnx")
    entry = f'id = "lips"\ntitle = "Lips"\nformat = "onnx"\nsource = "{source.as_posix()}"\nbatch = 4\n'
    catalog.write_text("[[lip_models]]\n" + entry)
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog))
    quiet = np.zeros(SPEECH_RATE_HZ // 2, np.float32)
    speech = Speech(np.concatenate([quiet, syllables(0.5).samples]))
    job = await run(harness, face_video, write_speech(media, speech), model="lips")
    pictures = pictures_of(await result_of(harness, job, tmp_path))
    changes = abs(pictures[:, 60:68, 76:84] - np.array(SKIN)).mean(axis=(1, 2, 3))
    assert changes[:5].max() < 6
    assert changes[11:].min() > 20
    assert abs(pictures[:, :10] - np.array((30, 90, 160))).mean() < 6


async def test_a_video_in_which_no_face_appears_fails_with_that_reason(
    open_harness: OpenHarness, media: MediaMaker, tmp_path: Path
) -> None:
    dark = media.video("dark.mp4", size="160x128", source="color=black")
    detector = write_detector(tmp_path / "faces.onnx")
    harness = await open_harness(lipsync=LipsyncSettings(face_detector=str(detector)))
    job = await run(harness, dark, write_speech(media, syllables(1)), box=None)
    assert job.row.state is JobState.FAILED
    assert job.row.error is not None
    assert job.row.error["code"] == FailureCode.MEDIA_INVALID
    assert job.row.error["message"] == "no face appears in the video; give the box of the face"


async def test_a_lip_model_whose_file_is_missing_fails_before_a_frame_is_made(
    open_harness: OpenHarness, media: MediaMaker, face_video: Path, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text('[[lip_models]]\nid = "lips"\ntitle = "L"\nformat = "torchscript"\nsource = "/none/lips.pt"\n')
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog))
    job = await run(harness, face_video, write_speech(media, syllables(1)), model="lips")
    assert job.row.error is not None
    assert (job.row.error["code"], job.row.error["stage"]) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD)
    assert "cannot read /none/lips.pt" in job.row.error["message"]


async def test_a_cancel_ends_a_long_lipsync_between_two_frames(
    harness: WorkerHarness, media: MediaMaker, face: Path
) -> None:
    job_id = await submit(harness, face, write_speech(media, syllables(590)))
    async with harness.worker():
        await harness.until_step(job_id, 10)
        await harness.cancel(job_id)
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.CANCELED
    assert await harness.artifacts(job_id, ArtifactKind.OUTPUT) == []
