"""A session: sound in, frames with their sound out, in order, with back-pressure and interruption."""

import asyncio
import io
import math

import numpy as np
import pytest
from PIL import Image

from fixtures.frames import BOX, RATE_HZ, open_raw, open_service, pcm_of, pixels_of, read_all, write_face
from fixtures.tiny_lips import syllables
from phoenix.errors import InvalidRequest, NotFound, Unavailable
from phoenix.frames.service import FaceBox, FrameService, ImageFormat

SECOND = pcm_of(syllables(1))
FRAME_BYTES = RATE_HZ // 25 * 2


@pytest.fixture
async def service():
    async with open_service() as opened:
        yield opened


@pytest.fixture
async def video_id(service: FrameService, tmp_path):
    return (await service.register_video(write_face(tmp_path / "face.png"), box=BOX, model=None)).video_id


async def speak(service: FrameService, video_id: str, pcm: bytes, *, step: int = 3_000):
    session = open_raw(service, video_id)
    for start in range(0, len(pcm), step):
        await session.push_audio(pcm[start : start + step])
    await session.end_audio()
    return await read_all(session)


async def test_a_second_of_sound_makes_a_second_of_frames_in_order(service, video_id):
    frames = await speak(service, video_id, SECOND)
    assert [frame.index for frame in frames] == list(range(25))
    assert [frame.pts_s for frame in frames] == [index / 25 for index in range(25)]


async def test_the_sound_of_the_frames_is_the_sound_that_was_pushed(service, video_id):
    frames = await speak(service, video_id, SECOND)
    assert b"".join(frame.audio for frame in frames) == SECOND


async def test_a_begun_frame_at_the_end_of_the_sound_is_made(service, video_id):
    frames = await speak(service, video_id, SECOND[: FRAME_BYTES * 3 + 100])
    assert [len(frame.audio) for frame in frames] == [FRAME_BYTES] * 3 + [100]


async def test_the_size_of_the_pushed_parts_changes_no_frame(service, video_id):
    whole = await speak(service, video_id, SECOND, step=len(SECOND))
    assert await speak(service, video_id, SECOND, step=998) == whole


async def test_sound_of_another_rate_comes_back_at_its_rate(service, video_id):
    session = open_raw(service, video_id, rate_hz=24_000)
    pcm = np.round(9000 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)).astype("<i2").tobytes()
    await session.push_audio(pcm)
    await session.end_audio()
    frames = await read_all(session)
    assert (len(frames), b"".join(frame.audio for frame in frames)) == (25, pcm)


async def test_a_jpeg_has_the_size_of_the_video(service, video_id):
    session = service.open_session(video_id, sample_rate=RATE_HZ, format=ImageFormat.JPEG, max_buffered_s=2)
    await session.push_audio(SECOND[: 2 * FRAME_BYTES])
    await session.end_audio()
    frames = await read_all(session)
    assert [Image.open(io.BytesIO(frame.image)).size for frame in frames] == [(80, 64)] * 2


async def test_the_mouth_opens_with_the_energy_of_the_sound(service, video_id):
    speech = syllables(4)
    frames = await speak(service, video_id, pcm_of(speech))
    dark = [float(np.mean(pixels_of(frame)[BOX.rows, BOX.columns].sum(axis=2) < 120)) for frame in frames]
    levels = [math.sqrt(np.mean(np.square(speech.samples[at * 640 : at * 640 + 640]))) for at in range(len(frames))]
    assert np.corrcoef(dark, levels)[0, 1] > 0.9


async def test_without_sound_no_frame_comes(service, video_id):
    session = open_raw(service, video_id)
    waiting = asyncio.ensure_future(anext(aiter(session.frames())))
    await session.push_audio(SECOND[:FRAME_BYTES])
    await asyncio.sleep(0)
    assert service.health().waiting == 0
    assert not waiting.done()
    waiting.cancel()
    await session.close()


async def test_a_session_whose_sound_ends_before_it_began_has_no_frames(service, video_id):
    session = open_raw(service, video_id)
    await session.end_audio()
    assert await read_all(session) == []


async def test_a_push_waits_while_too_much_sound_is_not_rendered(service, video_id):
    session = open_raw(service, video_id, max_buffered_s=0.5)
    pushing = asyncio.ensure_future(session.push_audio(SECOND * 2))
    frames = session.frames()
    first = await anext(frames)
    assert (first.index, pushing.done()) == (0, False)
    async for frame in frames:
        if frame.index == 44:
            break
    await pushing
    await session.close()


async def test_a_reader_that_does_not_read_stops_only_its_own_session(service, video_id):
    unread = open_raw(service, video_id)
    await unread.push_audio(SECOND)
    assert len(await speak(service, video_id, SECOND)) == 25
    assert unread.buffered_s == pytest.approx(1 - 4 / 25)
    await unread.close()


async def test_clear_drops_what_is_not_rendered_and_the_next_sound_follows_at_once(service, video_id):
    session = open_raw(service, video_id)
    await session.push_audio(SECOND)
    index = await session.clear()
    assert index <= 4
    await session.push_audio(SECOND[: 2 * FRAME_BYTES])
    await session.end_audio()
    frames = await read_all(session)
    assert [frame.index for frame in frames] == list(range(index + 2))
    assert b"".join(frame.audio for frame in frames[index:]) == SECOND[: 2 * FRAME_BYTES]


async def test_clear_ends_a_push_that_waits(service, video_id):
    session = open_raw(service, video_id, max_buffered_s=0.5)
    pushing = asyncio.ensure_future(session.push_audio(SECOND * 5))
    await anext(session.frames())
    await session.clear()
    await pushing
    assert session.buffered_s == 0
    await session.close()


async def test_clear_after_the_end_of_the_sound_ends_the_frames(service, video_id):
    session = open_raw(service, video_id)
    await session.push_audio(SECOND)
    await session.end_audio()
    index = await session.clear()
    assert [frame.index for frame in await read_all(session)] == list(range(index))


async def test_a_closed_session_ends_its_frames_and_frees_its_video(service, video_id):
    session = open_raw(service, video_id)
    await session.push_audio(SECOND)
    reading = asyncio.ensure_future(read_all(session))
    await asyncio.sleep(0)
    await session.close()
    await reading
    await service.remove_video(video_id)
    with pytest.raises(NotFound):
        service.get_video(video_id)


async def test_half_a_sample_is_refused_with_the_field(service, video_id):
    session = open_raw(service, video_id)
    with pytest.raises(InvalidRequest, match="/audio: a part of the sound ends within a sample"):
        await session.push_audio(b"abc")
    await session.close()


async def test_sound_after_the_end_is_refused(service, video_id):
    session = open_raw(service, video_id)
    await session.end_audio()
    with pytest.raises(Unavailable, match="takes no more sound"):
        await session.push_audio(b"ab")
    await session.close()


async def test_a_rate_that_is_none_of_sound_is_refused(service, video_id):
    with pytest.raises(InvalidRequest, match="/sample_rate: 100 Hz is no rate"):
        open_raw(service, video_id, rate_hz=100)


async def test_draining_renders_what_was_pushed_and_takes_nothing_new(service, video_id):
    session = open_raw(service, video_id)
    await session.push_audio(SECOND)
    draining = asyncio.ensure_future(service.drain())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="about to end"):
        open_raw(service, video_id)
    assert len(await read_all(session)) == 25
    await draining
    assert not service.health().is_serving


async def test_one_frame_is_rendered_for_a_sound(service, video_id):
    frame = await service.render_frame(video_id, 0, SECOND, sample_rate=RATE_HZ, format=ImageFormat.RAW)
    assert (frame.index, frame.pts_s, frame.audio) == (0, 0.0, SECOND[:FRAME_BYTES])
    assert len(frame.image) == 80 * 64 * 3


async def test_a_frame_that_the_video_does_not_have_is_refused(service, video_id):
    with pytest.raises(InvalidRequest, match="/frame_index: the video has the frames 0 to 0, and not 1"):
        await service.render_frame(video_id, 1, SECOND, sample_rate=RATE_HZ, format=ImageFormat.RAW)


async def test_an_empty_sound_is_refused(service, video_id):
    with pytest.raises(InvalidRequest, match="/audio: this sound is empty"):
        await service.render_frame(video_id, 0, b"", sample_rate=RATE_HZ, format=ImageFormat.RAW)


async def test_a_box_outside_of_the_picture_is_refused(service, tmp_path):
    face = write_face(tmp_path / "face.png")
    with pytest.raises(InvalidRequest, match="/box: the box leaves the picture, which is 80x64"):
        await service.register_video(face, box=FaceBox(40, 0, 48, 48), model=None)


async def test_a_video_without_a_box_needs_a_detector(service, tmp_path):
    with pytest.raises(InvalidRequest, match=r"/box: .*PHOENIX_LIPSYNC__FACE_DETECTOR"):
        await service.register_video(write_face(tmp_path / "face.png"), box=None, model=None)


async def test_an_unknown_model_is_refused_with_those_that_there_are(service, tmp_path):
    with pytest.raises(InvalidRequest, match="/model: there is no lip model 'x' here; choose one of: drawn-mouth"):
        await service.register_video(write_face(tmp_path / "face.png"), box=BOX, model="x")


async def test_a_file_that_is_no_video_is_refused(service, tmp_path):
    (tmp_path / "face.png").write_bytes(b"no picture")
    with pytest.raises(InvalidRequest, match="/video: "):
        await service.register_video(tmp_path / "face.png", box=BOX, model=None)
