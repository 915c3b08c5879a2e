"""The lips of clips through a worker: they follow the narration or the audio, and wait for what they say."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from fixtures.media_files import MediaMaker, sound_levels
from fixtures.scripted_server import Answer, ScriptedServer
from fixtures.speech import SPEECH_PATH, service_settings
from fixtures.tiny_lips import syllables, write_detector, write_wav2lip
from fixtures.workplace import OWNER, OpenHarness, WorkerHarness
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import ArtifactKind, JobOptions, JobState, MediaInfo, ReelRequest, ResolvedReel, ResolvedVoice
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import EarlierWork
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.tables import ArtifactRow
from phoenix.jobs.views import view_job
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Speech
from phoenix.settings import EngineSettings, LimitSettings, LipsyncSettings

SOUND = MediaInfo(media="audio", format="wav", duration_s=2, audio_duration_s=2, audio_codec="pcm_s16le")


def write_speech(media: MediaMaker, speech: Speech) -> Path:
    raw, path = media.folder / "speech.raw", media.folder / "speech.wav"
    raw.write_bytes(speech.samples.astype("<f4").tobytes())
    media.ffmpeg("-f", "f32le", "-ar", str(SPEECH_RATE_HZ), "-ac", "1", "-i", str(raw), str(path))
    return path


def reel_of(harness: WorkerHarness, clips: list[dict[str, Any]], **body: Any) -> ResolvedReel:
    settings = harness.settings
    size = {"resolution": "240p", "aspect_ratio": "4:3", "duration_s": 2, "fps": 16, "steps": 2, "seed": 1}
    request = ReelRequest.model_validate({"clips": clips, **size, **body})
    named = {each.source.artifact_id: SOUND for clip in request.clips for each in clip.conditions}
    reel = admit_reel(
        request,
        load_catalog(settings.engine.catalog_file),
        default_model="animatic",
        limits=AdmissionLimits(finds_faces=settings.lipsync.face_detector is not None),
        draw_seed=lambda: 7,
        media={str(artifact_id): info for artifact_id, info in named.items()},
    )
    return reel.model_copy(update={"voice": ResolvedVoice(engine="openai", model="tts", name="alloy")})


def says(artifact_id: str, **lips: Any) -> dict[str, Any]:
    condition = {"role": "audio", "source": {"artifact_id": artifact_id}}
    return {"prompt": "a face", "conditions": [condition], "lip_sync": lips or True}


async def run(harness: WorkerHarness, reel: ResolvedReel) -> FullJob:
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    return job


async def clip_of(harness: WorkerHarness, job: FullJob) -> ArtifactRow:
    (clip,) = await harness.artifacts(job.row.id, ArtifactKind.CLIP)
    return clip


def pictures_of(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.int16)


def openings(pictures: NDArray[np.int16], reel: ResolvedReel) -> NDArray[np.float64]:
    """How many dark pixels are at the mouth of the first clip's face, frame by frame."""
    lips = reel.clips[0].lip_sync
    assert lips is not None
    assert lips.box is not None
    box = lips.box
    rows = slice(box.y + round(0.6 * box.height), box.y + round(0.84 * box.height))
    columns = slice(box.x + round(0.4 * box.width), box.x + round(0.6 * box.width))
    return (pictures[:, rows, columns].sum(axis=3) < 200).sum(axis=(1, 2)).astype(np.float64)


def energy_of(speech: Speech, count: int, fps: float) -> list[float]:
    parts = [speech.part(index / fps, (index + 1) / fps) for index in range(count)]
    return [float(np.sqrt(np.mean(part**2))) for part in parts]


async def test_the_mouth_of_the_animatics_puppet_opens_with_the_energy_of_the_narration(
    open_harness: OpenHarness, scripted_server: ScriptedServer, media: MediaMaker, tmp_path: Path
) -> None:
    speech = syllables(2)
    scripted_server.on("POST", SPEECH_PATH, Answer(200, write_speech(media, speech).read_bytes()))
    harness = await open_harness(tts=service_settings(scripted_server.url))
    reel = reel_of(harness, [{"prompt": "a face", "narration": "la la la", "lip_sync": True}])
    job = await run(harness, reel)
    assert job.output is not None
    shown = openings(pictures_of(await harness.download(job.output, tmp_path)), reel)
    assert len(shown) == 32
    assert np.corrcoef(energy_of(speech, 32, 16), shown)[0, 1] > 0.9


async def test_the_sound_that_the_lips_say_is_the_sound_of_the_clip(
    harness: WorkerHarness, media: MediaMaker, tmp_path: Path
) -> None:
    speech = syllables(2)
    sound = await harness.upload(write_speech(media, speech))
    reel = reel_of(harness, [says(sound)])
    job = await run(harness, reel)
    path = await harness.download(await clip_of(harness, job), tmp_path)
    shown = openings(pictures_of(path), reel)
    assert np.corrcoef(energy_of(speech, 32, 16), shown)[0, 1] > 0.9
    assert max(sound_levels(path)) > 0.1
    (task,) = [task for task in job.tasks if task.kind is TaskKind.RENDER]
    assert {"numpy", "pillow"} <= set(task.made_with)


async def test_a_clip_that_keeps_no_sound_moves_its_lips_in_silence(
    harness: WorkerHarness, media: MediaMaker, tmp_path: Path
) -> None:
    sound = await harness.upload(write_speech(media, syllables(2)))
    reel = reel_of(harness, [says(sound)], clip_sound="drop")
    clip = await clip_of(harness, await run(harness, reel))
    assert clip.info["audio_codec"] is None
    assert openings(pictures_of(await harness.download(clip, tmp_path)), reel).max() > 0


async def test_a_clip_waits_for_the_narration_that_its_lips_say(harness: WorkerHarness) -> None:
    clips = [{"prompt": "a", "narration": "one", "lip_sync": True}, {"prompt": "b", "narration": "two"}]
    job = await harness.job(await harness.submit(reel_of(harness, clips)))
    renders = [task for task in job.tasks if task.kind is TaskKind.RENDER]
    assert [(task.state, task.prerequisites) for task in renders] == [(TaskState.BLOCKED, [2]), (TaskState.READY, [])]
    view = view_job(job.row, job.tasks, None)
    assert view.clips[0].waits_for_clip is None


async def test_a_file_of_the_operator_moves_the_lips_of_a_clip(
    open_harness: OpenHarness, media: MediaMaker, tmp_path: Path
) -> None:
    catalog, source = tmp_path / "catalog.toml", write_wav2lip(tmp_path / "lips.onnx")
    entry = f'id = "lips"\ntitle = "Lips"\nformat = "onnx"\nsource = "{source.as_posix()}"\nbatch = 4\n'
    catalog.write_text("[[lip_models]]\n" + entry)
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog))
    sound = await harness.upload(write_speech(media, syllables(2)))
    made = {}
    for model in ("lips", "drawn-mouth"):
        clip = await clip_of(harness, await run(harness, reel_of(harness, [says(sound, model=model)])))
        made[model] = pictures_of(await harness.download(clip, tmp_path))
    difference = abs(made["lips"] - made["drawn-mouth"]).mean(axis=(0, 3))
    lips = reel_of(harness, [says(sound)]).clips[0].lip_sync
    assert lips is not None
    assert lips.box is not None
    box = lips.box
    inside = difference[box.y + 8 : box.y + box.height - 8, box.x + 8 : box.x + box.width - 8]
    assert inside.mean() > 10
    assert difference[:, : box.x - 8].mean() < 2


async def test_a_clip_in_which_no_face_is_found_is_kept_with_a_failed_check(
    open_harness: OpenHarness, media: MediaMaker, tmp_path: Path
) -> None:
    detector = write_detector(tmp_path / "faces.onnx", most=0.4)
    harness = await open_harness(lipsync=LipsyncSettings(face_detector=str(detector)))
    sound = await harness.upload(write_speech(media, syllables(2)))
    job = await run(harness, without_box(reel_of(harness, [says(sound)])))
    (task,) = [task for task in job.tasks if task.kind is TaskKind.RENDER]
    assert [check["code"] for check in task.checks] == ["NO_FACE"]


def without_box(reel: ResolvedReel) -> ResolvedReel:
    lips = reel.clips[0].lip_sync
    assert lips is not None
    moved = lips.model_copy(update={"box": None})
    return reel.model_copy(update={"clips": [reel.clips[0].model_copy(update={"lip_sync": moved})]})


async def test_the_same_words_of_the_same_lips_are_spoken_and_rendered_once(
    open_harness: OpenHarness, scripted_server: ScriptedServer, media: MediaMaker
) -> None:
    scripted_server.on("POST", SPEECH_PATH, Answer(200, write_speech(media, syllables(2)).read_bytes()))
    harness = await open_harness(tts=service_settings(scripted_server.url))
    reel = reel_of(harness, [{"prompt": "a face", "narration": "la la la", "lip_sync": True}])
    first = await run(harness, reel)
    async with harness.services.database.write() as uow:
        again = await submit(
            uow,
            reel,
            JobOptions(),
            owner_id=OWNER,
            request_id=None,
            limits=LimitSettings(),
            earlier=EarlierWork({0, 1}),
        )
    assert [task.is_reused for task in again.tasks] == [True, True, False]
    assert again.tasks[0].content_key == first.tasks[0].content_key
