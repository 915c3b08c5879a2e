"""Reads a picture."""

from typing import Any

from phoenix.media.probe_child.limits import Limits, check_pixels


def read_picture(path: str, limits: Limits) -> dict[str, Any]:
    """Checks the size in the header first: a file of 100 kB may have 900 million pixels."""
    from PIL import Image  # noqa: PLC0415 - imported only for pictures

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as picture:
        check_pixels(picture.width, picture.height, limits)
        picture.load()
        return {"media": "image", "width": picture.width, "height": picture.height, "pixel_format": picture.mode}
