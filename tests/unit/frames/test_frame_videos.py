"""Videos of a frames service: looped, with frames without a face as they are, and refused where no face appears."""

import os
from pathlib import Path

import numpy as np
import pytest

from fixtures.frames import BOX, frames_settings, open_raw, pcm_of, pixels_of, read_all, write_face
from fixtures.media_files import MediaMaker
from fixtures.tiny_lips import syllables, write_detector
from phoenix.errors import InvalidRequest
from phoenix.frames.service import FrameService
from phoenix.settings import LipsyncSettings, Settings

WIDTH, HEIGHT, FPS = 128, 96, 20
SIZE = {"width": WIDTH, "height": HEIGHT}


def write_video(media: MediaMaker, with_face: int, frames: int) -> Path:
    """Grey frames, of which the first have a white patch: what the detector of the tests takes for a face."""
    pictures = np.full((frames, HEIGHT, WIDTH, 3), 80, np.uint8)
    pictures[:with_face, 40:56, 56:72] = 255
    raw, path = media.folder / "frames.raw", media.folder / "frames.mp4"
    raw.write_bytes(pictures.tobytes())
    size = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", str(raw))
    media.ffmpeg(*size, "-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p", str(path))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    detector = write_detector(tmp_path / "faces.onnx")
    return frames_settings().model_copy(update={"lipsync": LipsyncSettings(face_detector=str(detector))})


async def test_a_video_is_shown_again_and_frames_without_a_face_stay_as_they_are(
    settings: Settings, media: MediaMaker
) -> None:
    async with FrameService(settings) as service:
        info = await service.register_video(write_video(media, with_face=6, frames=10), box=None, model=None)
        assert (info.frame_count, info.frames_with_face, info.fps) == (10, 6, FPS)
        session = open_raw(service, info.video_id)
        await session.push_audio(pcm_of(syllables(0.75)))
        await session.end_audio()
        frames = [pixels_of(frame, **SIZE).astype(int) for frame in await read_all(session)]
    assert len(frames) == 15
    # The detector finds white, and the video has nothing else but grey: a mouth is darker.
    drawn = [index for index, frame in enumerate(frames) if frame.min() < 60]
    assert set(drawn) <= {*range(6), *range(10, 15)}
    assert len(drawn) >= 8


async def test_a_video_in_which_no_face_appears_is_refused(settings: Settings, media: MediaMaker) -> None:
    async with FrameService(settings) as service:
        with pytest.raises(InvalidRequest, match="/video: no face appears in it; give the box of the face"):
            await service.register_video(write_video(media, with_face=0, frames=3), box=None, model=None)


async def test_a_sound_is_no_video(media: MediaMaker, tmp_path: Path) -> None:
    path = media.folder / "tone.wav"
    media.ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", str(path))
    async with FrameService(frames_settings()) as service:
        with pytest.raises(InvalidRequest, match="/video: this file is audio; give a video or a picture"):
            await service.register_video(path, box=BOX, model=None)


def folders_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("phoenix-frames-*")}


async def test_what_a_killed_service_left_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, young = tmp_path / "phoenix-frames-left", tmp_path / "phoenix-frames-young"
    for folder in (left, young):
        (folder / "videos").mkdir(parents=True)
    os.utime(left, (0, 0))
    async with FrameService(frames_settings()) as service:
        await service.register_video(write_face(tmp_path / "face.png"), box=BOX, model=None)
        assert len(folders := folders_in(tmp_path)) == 2
        assert "phoenix-frames-young" in folders
    assert folders_in(tmp_path) == {"phoenix-frames-young"}
