"""Files as people upload them: which formats are read, what is told of them, and what a refusal names."""

import struct
from pathlib import Path

import numpy as np
import pillow_heif  # pyright: ignore[reportMissingTypeStubs]
import pytest
from PIL import Image

from fixtures.media_files import MediaMaker, sound_levels
from phoenix.contract import SoundtrackRequest
from phoenix.media.errors import UnreadableMedia
from phoenix.media.probe import ProbeLimits, media_type_of, probe_media
from phoenix.media.reel.join import join_clips
from phoenix.media.soundtrack import prepare_soundtrack

LIMITS = ProbeLimits()
TONES = "aevalsrc='0.5*sin(880*PI*t)|0.3*sin(1100*PI*t)|0.2*sin(1320*PI*t)|0.2*sin(1540*PI*t)'"
AMBISONIC = ("-c:a", "libopus", "-mapping_family", "2", "-b:a", "256k")


@pytest.mark.parametrize(
    ("name", "options", "media_type"),
    [
        ("a.aiff", (), "audio/aiff"),
        ("a.caf", (), "audio/caf"),
        ("a.amr", ("-ar", "8000", "-ac", "1", "-c:a", "libopencore_amrnb"), "audio/AMR"),
    ],
)
def test_sounds_of_phones_and_studios_are_read(
    media: MediaMaker, name: str, options: tuple[str, ...], media_type: str
) -> None:
    info = probe_media(media.sound(name, options=options), LIMITS)

    assert media_type_of(info) == media_type
    assert info.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("name", ["a.aiff", "a.caf"])
def test_such_a_sound_that_was_cut_short_is_refused(media: MediaMaker, name: str) -> None:
    with pytest.raises(UnreadableMedia, match="incomplete"):
        probe_media(media.beginning_of(media.sound(name)), LIMITS)


@pytest.mark.parametrize(
    ("name", "codecs", "media_type"),
    [
        ("a.avi", ("-c:v", "mjpeg", "-c:a", "pcm_s16le"), "video/x-msvideo"),
    ],
)
def test_videos_of_old_cameras_are_joined(
    media: MediaMaker, name: str, codecs: tuple[str, ...], media_type: str, mp4_file: Path
) -> None:
    clip = media.folder / name
    media.ffmpeg("-i", str(media.video_with_sound("plain.mp4")), *codecs, str(clip))

    joined = join_clips([mp4_file, clip], media.folder / "out.mp4", tools=media.tools)

    assert media_type_of(probe_media(clip, LIMITS)) == media_type
    assert (joined.num_frames, joined.duration_s) == (64, 4.0)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.heic", "image/heic"),
        ("a.avif", "image/avif"),
        ("a.tiff", "image/tiff"),
        ("a.bmp", "image/bmp"),
        ("a.gif", "image/gif"),
    ],
)
def test_pictures_of_phones_and_scanners_are_read(tmp_path: Path, name: str, media_type: str) -> None:
    picture, path = Image.new("RGB", (64, 48), (200, 0, 0)), tmp_path / name
    if name == "a.heic":
        pillow_heif.from_pillow(picture).save(path)  # pyright: ignore[reportUnknownMemberType]
    else:
        picture.save(path)

    info = probe_media(path, LIMITS)

    assert media_type_of(info) == media_type
    assert (info.width, info.height) == (64, 48)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.avif"])
def test_the_size_of_a_picture_is_the_size_that_a_viewer_shows(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 120), (200, 0, 0)).save(tmp_path / name, exif=exif)

    info = probe_media(tmp_path / name, LIMITS)

    assert (info.width, info.height, info.pixel_format) == (120, 200, "RGB")


def test_a_jpeg_may_have_four_times_the_pixels_of_other_pictures(tmp_path: Path) -> None:
    """It is decoded at a smaller scale, except if it is progressive."""
    picture, limits = Image.new("RGB", (80, 50)), ProbeLimits(max_pixels=1000)
    picture.save(tmp_path / "a.jpg")
    picture.save(tmp_path / "progressive.jpg", progressive=True)
    picture.save(tmp_path / "a.png")

    info = probe_media(tmp_path / "a.jpg", limits)

    assert (info.width, info.height) == (80, 50)
    for name in ("progressive.jpg", "a.png"):
        with pytest.raises(UnreadableMedia, match="80x50; at most 1000 pixels"):
            probe_media(tmp_path / name, limits)
    with pytest.raises(UnreadableMedia, match="at most 3996 pixels"):
        probe_media(tmp_path / "a.jpg", ProbeLimits(max_pixels=999))


def test_a_photo_of_50_megapixels_is_read(tmp_path: Path) -> None:
    Image.new("L", (8192, 6144)).save(tmp_path / "a.jpg")

    assert probe_media(tmp_path / "a.jpg", LIMITS).width == 8192


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_read_to_its_end_at_any_scale(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((800, 600), 60).save(path, progressive=progressive)
    path.write_bytes(path.read_bytes()[:-20_000])

    with pytest.raises(UnreadableMedia, match="damaged"):
        probe_media(path, LIMITS)


@pytest.mark.parametrize(("mode", "reason"), [("F", "of the kind 'F'"), ("LAB", "of the kind 'LAB'")])
def test_a_picture_that_no_engine_can_use_is_refused(tmp_path: Path, mode: str, reason: str) -> None:
    Image.new(mode, (64, 48)).save(tmp_path / "a.tiff")

    with pytest.raises(UnreadableMedia, match=reason):
        probe_media(tmp_path / "a.tiff", LIMITS)


@pytest.mark.parametrize("sizes", [(0, 0), (0x7FFFFFFF, 0x7FFFFFFF - 36), (0xFFFFFFFF, 0), (0x7FFFF024, 0x7FFFF000)])
def test_a_wav_of_a_speech_service_has_its_whole_length(media: MediaMaker, sizes: tuple[int, int]) -> None:
    path = media.sound("a.wav")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8], data[at : at + 4] = struct.pack("<I", sizes[0]), struct.pack("<I", sizes[1])
    path.write_bytes(data)

    assert probe_media(path, LIMITS).duration_s == 4.0


def test_a_word_in_the_tags_of_an_mp3_says_nothing_of_its_length(media: MediaMaker) -> None:
    uneven = "anoisesrc=d=10:a=0.5,volume='if(lt(t,1),0,1)':eval=frame"
    options = ("-q:a", "2", "-write_xing", "0", "-metadata", "comment=Information about this song")

    assert probe_media(media.sound("a.mp3", seconds=10, source=uneven, options=options), LIMITS).duration_s == (
        pytest.approx(10, abs=0.1)
    )


def test_an_mp3_joined_of_two_is_whole(media: MediaMaker) -> None:
    path = media.sound("a.mp3")
    path.write_bytes(path.read_bytes() * 2)

    assert probe_media(path, LIMITS).duration_s == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize(
    ("codec", "other", "named"),
    [
        (b"A_OPUS", b"A_XPUS", "its sound has the codec A_XPUS"),
        (b"V_VP8", b"V_XP8", "its picture has the codec V_XP8"),
    ],
)
def test_a_codec_without_a_decoder_is_named(media: MediaMaker, codec: bytes, other: bytes, named: str) -> None:
    path = media.folder / "a.webm"
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=8:d=1", "-f", "lavfi", "-i", "sine=d=1")
    media.ffmpeg(*source, "-c:v", "libvpx", "-c:a", "libopus", str(path))
    path.write_bytes(path.read_bytes().replace(codec, other))

    with pytest.raises(UnreadableMedia, match=named):
        probe_media(path, LIMITS)


def test_an_encrypted_video_is_refused_as_such(media: MediaMaker) -> None:
    path = media.video("a.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"encv"))

    with pytest.raises(UnreadableMedia, match="its picture is encrypted"):
        probe_media(path, LIMITS)


def test_ambisonic_sound_becomes_a_soundtrack(media: MediaMaker) -> None:
    sphere = media.sound("a.webm", seconds=3, source=f"{TONES}:c=ambisonic 1", options=AMBISONIC)
    output = media.folder / "out.m4a"

    prepare_soundtrack(
        sphere,
        output,
        SoundtrackRequest(artifact_id="art_01j0000000000000000000000a"),
        duration_s=None,
        tools=media.tools,
    )

    assert probe_media(output, LIMITS).channels == 2
    assert min(sound_levels(output)[:-1]) > 0.1


@pytest.mark.parametrize("layout", ["5.1", "7.1", "3.0", "BL+BR", "FL+LFE"])
def test_the_sound_of_a_clip_in_any_layout_is_joined(media: MediaMaker, layout: str, mp4_file: Path) -> None:
    clip, tones = media.folder / "clip.mov", media.folder / "tones.f32"
    channels = {"5.1": 6, "7.1": 8, "3.0": 3}.get(layout, 2)
    time = np.arange(96_000) / 48_000
    np.stack([0.3 * np.sin(440 * np.pi * time)] * channels, 1).astype("<f4").tofile(tones)
    raw = ("-f", "f32le", "-ar", "48000", "-ch_layout", layout, "-i", str(tones))
    media.ffmpeg(*raw, "-i", str(mp4_file), "-c:v", "copy", "-c:a", "pcm_s16le", str(clip))

    join_clips([clip, mp4_file], media.folder / "out.mp4", tools=media.tools)

    levels = sound_levels(media.folder / "out.mp4")
    assert min(levels[1:19]) > 0.1
    assert max(levels[22:]) < 0.01
