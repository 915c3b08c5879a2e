"""Opens a still picture in the same way for every use: upright, opaque, in 8 bits, in the colours of the web."""

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin

FORMATS = ("PNG", "JPEG", "WEBP", "HEIF", "AVIF", "TIFF", "BMP", "GIF")
"""The formats that are opened, by the names of Pillow."""

# The layouts of pixels that are converted, by the names of Pillow. The others are numbers of 32 bits and rare colours.
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I;16", "I;16L", "I;16B")
MATTE = (255, 255, 255)
"""The ground behind a transparent picture. The colours that transparent pixels hide are often garbage."""

# Pillow's own limit is below the pictures of phones. The size of an upload is checked before anything decodes it.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION_TAG = 0x0112
# Raw pictures in the format TIFF begin with a thumbnail, and only their maker's software reads the rest.
_RAW_TAGS, _SUBFILE_TAG = (0xC612, 0x828E), 0x00FE
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(path: Path, least_px: int | None = None) -> Image.Image:
    """Returns the first picture of a file as RGB of 8 bits in sRGB, upright, over `MATTE` where it is transparent.

    Both sides of the result have at least `least_px` pixels, unless the picture is smaller; a large JPEG is decoded at
    a smaller scale. Raises `OSError`, `ValueError` or `SyntaxError` if it cannot be read.
    """
    with open_header(path) as picture:
        if least_px is not None:
            shrink(picture, least_px)
        load_pixels(picture)
        profile = picture.info.get("icc_profile")
        return _over_matte(_in_srgb(_in_plain_channels(_in_8_bits(_upright(picture))), profile))


def open_header(path: Path) -> Image.Image:
    """Returns a picture whose size is known, and whose pixels are not decoded yet. Raises as `open_picture`."""
    with path.open("rb") as file:
        is_in_boxes = file.read(8)[4:] == b"ftyp"
    if is_in_boxes:
        # Loading its libraries takes 0.1 s, as long as reading a photo.
        import pillow_heif  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

        pillow_heif.register_heif_opener(  # pyright: ignore[reportUnknownMemberType]
            thumbnails=False, depth_images=False, aux_images=False
        )
    return Image.open(path, formats=FORMATS if is_in_boxes else [name for name in FORMATS if name != "HEIF"])


def can_shrink(picture: Image.Image) -> bool:
    """Returns whether `shrink` saves memory. All of a progressive JPEG is in memory before its first pixel."""
    return isinstance(picture, JpegImagePlugin.JpegImageFile) and "progressive" not in picture.info


def shrink(picture: Image.Image, least_px: int) -> None:
    """Sets the scale at which a JPEG is decoded: 1/2, 1/4 or 1/8, if both sides keep at least `least_px` pixels."""
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        picture.draft(None, (least_px, least_px))


class UnsupportedPicture(ValueError):
    """The picture is of a kind that is not converted. The message may be shown to its sender."""


def load_pixels(picture: Image.Image) -> None:
    """Decodes the pixels. Raises `UnsupportedPicture` before, if the picture is of a kind that is not converted."""
    tags = getattr(picture, "tag_v2", {})
    if any(tag in tags for tag in _RAW_TAGS) or tags.get(_SUBFILE_TAG, 0) & 1:
        raise UnsupportedPicture("it is a raw picture of a camera")
    if picture.mode not in _MODES:
        raise UnsupportedPicture(f"its pixels are of the kind {picture.mode!r}; send a picture in RGB")
    picture.load()


def shown_size(picture: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Returns how a viewer shows the stored width and height of a loaded picture: cameras store rotated pictures."""
    return (size[1], size[0]) if _orientation_of(picture) >= 5 else size


def _orientation_of(picture: Image.Image) -> int:
    """Returns a number from 1, which is upright, to 8. TIFF and HEIC were made upright while they were decoded."""
    # Damage to the tags of a picture does not damage the picture.
    with suppress(OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        orientation = picture.getexif().get(_ORIENTATION_TAG)
        return orientation if orientation in _TRANSPOSES else 1
    return 1


def _upright(picture: Image.Image) -> Image.Image:
    orientation = _orientation_of(picture)
    return picture if orientation == 1 else picture.transpose(_TRANSPOSES[orientation])


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Scales grey of 16 bits, as scans and depth maps have it. Pillow's `convert` would clip it at 255."""
    hidden: Any = picture.info.get("transparency")
    if not picture.mode.startswith("I;16"):
        if picture.mode == "RGB" and hidden and max(hidden) > 255:
            # Pillow reads colours of 16 bits as 8 bits, but not the colour that is transparent.
            red, green, blue = hidden
            picture.info["transparency"] = (red >> 8, green >> 8, blue >> 8)
        return picture
    values = np.asarray(picture)
    grey = Image.fromarray((values / 257 + 0.5).astype(np.uint8))
    if isinstance(hidden, int):
        grey.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
    return grey


def _in_plain_channels(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    # A profile may be damaged, or be of another colour space than the picture; a viewer ignores it then.
    with suppress(OSError, ValueError, TypeError, ImageCms.PyCMSError):
        if profile:
            source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), _create_srgb()
            return ImageCms.profileToProfile(picture, source, srgb, outputMode=mode) or picture
    return picture.convert(mode)


def _create_srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def _over_matte(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGBA", picture.size, (*MATTE, 255))
    return Image.alpha_composite(ground, picture).convert("RGB")
