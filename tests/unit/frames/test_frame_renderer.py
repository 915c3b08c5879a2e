"""Frames of lip models are those of a direct call of the model, and videos take no more memory than they may."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fixtures.frames import BOX, RATE_HZ, open_raw, open_service, pcm_of, pixels_of, read_all, write_face
from fixtures.tiny_lips import WAV2LIP, lip_spec, noise, write_wav2lip
from phoenix.errors import Conflict, Gone, InvalidRequest, NotFound
from phoenix.frames.live_sound import to_floats
from phoenix.frames.service import FrameService, ImageFormat
from phoenix.lipsync.face_engine import FaceEngine, cut, paste
from phoenix.lipsync.faces import FixedFace
from phoenix.lipsync.features import MelFeatures, mel_spectrogram
from phoenix.lipsync.interface import Speech
from phoenix.lipsync.lip_files import FileLips, OnnxLips
from phoenix.still_pictures import open_picture

PCM = pcm_of(noise(1))


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    source = write_wav2lip(tmp_path / "lips.onnx")
    file = tmp_path / "catalog.toml"
    file.write_text(
        f'[[lip_models]]\nid = "lips"\ntitle = "Lips"\nformat = "onnx"\nsource = "{source}"\n'
        'channels = "bgr"\nbatch = 4'
    )
    return file


@pytest.fixture
async def service(catalog: Path):
    async with open_service(catalog) as opened:
        yield opened


async def say(service: FrameService, face: Path, pcm: bytes) -> list[np.ndarray]:
    video = await service.register_video(face, box=BOX, model="lips")
    session = open_raw(service, video.video_id)
    await session.push_audio(pcm)
    await session.end_audio()
    return [pixels_of(frame) for frame in await read_all(session)]


async def test_the_frames_are_those_of_a_direct_call(service: FrameService, catalog: Path, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    frame = np.asarray(open_picture(face))
    crop = cut(frame, BOX, 96)[..., ::-1].astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    masked = crop.copy()
    masked[:, :, 48:] = 0
    session: Any = onnxruntime.InferenceSession(str(catalog.with_name("lips.onnx")))
    windows = MelFeatures(mel_spectrogram(to_floats(PCM)), 25)
    for index, made in enumerate(await say(service, face, PCM)):
        given = {"mel_spectrogram": windows.batch([index]), "video_frames": np.concatenate([masked, crop], axis=1)}
        direct = session.run(None, given)[0][0].transpose(1, 2, 0)[..., ::-1]
        mouth = np.ascontiguousarray(np.clip(direct * 255 + 0.5, 0, 255).astype(np.uint8))
        np.testing.assert_array_equal(made, paste(frame, BOX, mouth))


async def test_a_session_makes_the_frames_of_the_job(service: FrameService, catalog: Path, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    spec = lip_spec(catalog.with_name("lips.onnx"), **WAV2LIP)
    engine = FaceEngine(FileLips(spec, OnnxLips(spec, str(spec.source), device="cpu")), FixedFace(BOX))

    class Unobserved:
        def on_frames(self, counts: object) -> None: ...

    frames = [np.asarray(open_picture(face))] * 25
    expected = engine.sync(frames, 25, Speech(to_floats(PCM)), Unobserved())
    for made, wanted in zip(await say(service, face, PCM), expected, strict=True):
        np.testing.assert_array_equal(made, wanted)


async def test_silence_leaves_the_frame_as_it_is(service: FrameService, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    for made in await say(service, face, bytes(12_800)):
        np.testing.assert_array_equal(made, np.asarray(open_picture(face)))


FRAME_BYTES = 3 * (80 * 64 + 96 * 96)


async def test_a_new_video_takes_the_memory_of_the_one_that_was_not_used_for_longest(tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    async with open_service(video_memory_bytes=2 * FRAME_BYTES) as service:
        first, second = [(await service.register_video(face, box=BOX, model=None)).video_id for _ in range(2)]
        assert service.get_video(first).frame_count == 1
        await service.register_video(face, box=BOX, model=None)
        assert service.get_video(first).frames_with_face == 1
        with pytest.raises(Gone, match="register it again"):
            service.get_video(second)
        assert service.health().videos == 2


async def test_a_video_that_a_session_shows_is_neither_evicted_nor_removed(tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    async with open_service(video_memory_bytes=2 * FRAME_BYTES) as service:
        shown = (await service.register_video(face, box=BOX, model=None)).video_id
        session = open_raw(service, shown)
        for _ in range(3):
            await service.register_video(face, box=BOX, model=None)
        with pytest.raises(Conflict, match="close the session first"):
            await service.remove_video(shown)
        await session.push_audio(PCM[:1280])
        await session.end_audio()
        assert len(await read_all(session)) == 1


async def test_a_video_larger_than_the_memory_is_refused_with_the_setting(tmp_path: Path):
    async with open_service(video_memory_bytes=FRAME_BYTES - 1) as service:
        with pytest.raises(InvalidRequest, match=r"/video: .*PHOENIX_FRAMES__VIDEO_MEMORY_BYTES"):
            await service.register_video(write_face(tmp_path / "face.png"), box=BOX, model=None)
        assert list(service.videos_folder.iterdir()) == []


async def test_an_unknown_video_is_not_found(service: FrameService):
    with pytest.raises(NotFound, match="register it first"):
        await service.render_frame("vid_x", 0, PCM, sample_rate=RATE_HZ, format=ImageFormat.RAW)


async def test_requests_of_many_callers_are_answered_each_with_its_own_frame(service: FrameService, tmp_path: Path):
    faces = [write_face(tmp_path / f"{seed}.png", seed=seed) for seed in range(3)]
    videos = [await service.register_video(face, box=BOX, model="lips") for face in faces]

    async def ask(video_id: str) -> bytes:
        made = await service.render_frame(video_id, 0, PCM, sample_rate=RATE_HZ, format=ImageFormat.RAW)
        return made.image

    alone = [await ask(video.video_id) for video in videos]
    together = await asyncio.gather(*(ask(video.video_id) for video in videos * 5))
    assert together == alone * 5
