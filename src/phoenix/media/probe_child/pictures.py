"""Reads a picture."""

from pathlib import Path
from typing import Any

from phoenix.media.probe_child.limits import Limits, UnreadableFile, check_pixels


def read_picture(path: str, limits: Limits) -> dict[str, Any]:
    """Checks the size in the header first: a file of 100 kB may have 900 million pixels."""
    from PIL import Image  # noqa: PLC0415 - imported only for pictures

    from phoenix.still_pictures import UnsupportedPicture, load_pixels, open_header, shown_size  # noqa: PLC0415

    Image.MAX_IMAGE_PIXELS = None
    with open_header(Path(path)) as picture:
        check_pixels(picture.width, picture.height, limits)
        try:
            load_pixels(picture)
        except UnsupportedPicture as error:
            raise UnreadableFile(str(error)) from None
        width, height = shown_size(picture)
        return {"media": "image", "width": width, "height": height, "pixel_format": picture.mode}
