"""A first frame is what its maker saw: upright, in its tones and colours, and without what transparency hides."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif  # pyright: ignore[reportMissingTypeStubs]
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from fixtures.renders import make_clip
from phoenix.engine.conditions.pictures import open_condition_picture
from phoenix.errors import FailureCode, TaskFailed
from phoenix.still_pictures import MATTE, open_picture

RED, HIDDEN_GREEN = (220, 30, 30), (0, 255, 0)
PLACES = ((2, 2), (61, 2), (2, 29), (61, 29))
QUADRANTS = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0))


def cut_out() -> Image.Image:
    """A red half beside a transparent half, whose hidden colour is green, as tools for cutting out leave it."""
    pixels = np.zeros((32, 64, 4), "uint8")
    pixels[:, :32] = (*RED, 255)
    pixels[:, 32:] = (*HIDDEN_GREEN, 0)
    return Image.fromarray(pixels)


def save(picture: Image.Image, path: Path, **options: Any) -> Path:
    if path.suffix == ".heic":
        pillow_heif.from_pillow(picture).save(path, quality=-1)  # pyright: ignore[reportUnknownMemberType]
    else:
        picture.save(path, **options)
    return path


def ramp(kind: str) -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 65535, 256).astype(kind), (4, 1)))


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_grey_of_16_bits_keeps_its_tones(tmp_path: Path, name: str) -> None:
    opened = open_picture(save(ramp("uint16"), tmp_path / name))

    assert [opened.getpixel((x, 1)) for x in (0, 8, 128, 255)] == [(tone,) * 3 for tone in (0, 8, 128, 255)]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.avif", "a.heic", "a.tiff", "a.gif"])
def test_a_transparent_ground_is_the_matte_and_not_the_hidden_colour(tmp_path: Path, name: str) -> None:
    opened = open_picture(save(cut_out(), tmp_path / name))

    assert opened.mode == "RGB"
    assert opened.getpixel((60, 16)) == MATTE
    assert opened.getpixel((4, 16)) == pytest.approx(RED, abs=3)


@pytest.mark.parametrize("mode", ["LA", "P", "RGB", "L"])
def test_every_way_to_store_transparency_is_composited(tmp_path: Path, mode: str) -> None:
    picture = cut_out().convert("LA") if mode == "LA" else cut_out().convert("RGB").convert(mode)
    options = {} if mode == "LA" else {"transparency": picture.getpixel((60, 16))}

    opened = open_picture(save(picture, tmp_path / "a.png", **options))

    assert opened.getpixel((60, 16)) == MATTE
    assert opened.getpixel((4, 16)) != MATTE


def test_a_transparent_tone_of_16_bits_is_composited(tmp_path: Path) -> None:
    opened = open_picture(save(ramp("uint16"), tmp_path / "a.png", transparency=0))

    assert [opened.getpixel((x, 1)) for x in (0, 1, 128)] == [MATTE, (1, 1, 1), (128, 128, 128)]


def test_a_transparent_colour_of_16_bits_is_composited(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    hidden, shown = struct.pack(">HHH", 60_000, 8000, 8000), struct.pack(">HHH", 0, 0, 65_535)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)) + chunk(b"tRNS", hidden)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + hidden + shown)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels)

    opened = open_picture(tmp_path / "a.png")

    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [MATTE, (0, 0, 255)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.tiff"])
def test_a_picture_is_upright_however_it_was_stored(tmp_path: Path, name: str, orientation: int) -> None:
    upright = Image.new("RGB", (64, 32))
    for corner, colour in zip(((0, 0), (32, 0), (0, 16), (32, 16)), QUADRANTS, strict=True):
        upright.paste(colour, (*corner, corner[0] + 32, corner[1] + 16))
    # The inverse of what a viewer does for each tag.
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(inverse[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation

    opened = open_picture(save(stored, tmp_path / name, exif=exif))

    assert opened.size == (64, 32)
    for place, colour in zip(PLACES, QUADRANTS, strict=True):
        assert opened.getpixel(place) == pytest.approx(colour, abs=12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_tags_do_not_damage_the_picture(tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 32), RED)

    opened = open_picture(save(picture, tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))

    assert opened.size == (64, 32)


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (64, 32), RED)

    # A profile of another colour space than the picture, and a damaged one, are ignored like no profile.
    for profile in (srgb, lab, b"damaged" * 40):
        assert open_picture(save(picture, tmp_path / "a.png", icc_profile=profile)).getpixel((4, 4)) == RED


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    opened = open_picture(save(Image.new("CMYK", (64, 32), (0, 255, 255, 0)), tmp_path / "a.jpg"))

    assert opened.getpixel((4, 4)) == pytest.approx((255, 0, 0), abs=3)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_that_are_no_colours_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match=f"of the kind '{mode}'"):
        open_picture(save(Image.new(mode, (64, 32)), tmp_path / "a.tiff"))


def test_a_raw_picture_is_refused_rather_than_its_thumbnail_taken(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x00FE] = 1

    with pytest.raises(ValueError, match="raw picture of a camera"):
        open_picture(save(Image.new("RGB", (64, 32)), tmp_path / "a.tiff", tiffinfo=tags))


def test_a_first_frame_fills_the_clip_and_is_cropped_not_squeezed(tmp_path: Path) -> None:
    picture = Image.new("RGB", (300, 100), (0, 0, 255))
    picture.paste(RED, (100, 0, 200, 100))

    frame = open_condition_picture(save(picture, tmp_path / "a.png"), make_clip(width=64, height=64))

    assert frame.size == (64, 64)
    for place in ((2, 32), (32, 32), (61, 32)):
        assert frame.getpixel(place) == pytest.approx(RED, abs=2)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\0\0\0\x18ftypheic" + bytes(50)]
)
def test_what_is_no_picture_fails_the_clip_for_good(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)

    with pytest.raises(TaskFailed, match="a picture of the clip cannot be read") as failed:
        open_condition_picture(path, make_clip())

    assert (failed.value.code, failed.value.retriable) == (FailureCode.MEDIA_INVALID, False)


@pytest.mark.parametrize(
    ("least_px", "size"), [(100, (100, 150)), (101, (200, 300)), (1000, (800, 1200)), (None, (800, 1200))]
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_large_enough(
    tmp_path: Path, least_px: int | None, size: tuple[int, int]
) -> None:
    path = save(Image.new("RGB", (800, 1200), RED), tmp_path / "a.jpg")

    opened = open_picture(path, least_px)

    assert opened.size == size
    assert opened.getpixel((50, 50)) == pytest.approx(RED, abs=3)


def test_a_first_frame_of_a_large_photo_is_as_sharp_as_all_of_the_photo(tmp_path: Path) -> None:
    clip = make_clip(width=64, height=48)
    lines = np.zeros((1536, 2048), "uint8")
    lines[:, ::64] = lines[:, 1::64] = lines[:, 2::64] = 255
    photo = Image.fromarray(lines).convert("RGB")

    shrunk, whole = (open_condition_picture(save(photo, tmp_path / name), clip) for name in ("a.jpg", "a.png"))

    difference = np.abs(np.asarray(shrunk, "int16") - np.asarray(whole, "int16"))
    assert difference.mean() < 3
