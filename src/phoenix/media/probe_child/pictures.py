"""Reads a picture."""

from pathlib import Path
from typing import Any

from phoenix.media.probe_child.limits import Limits, UnreadableFile, check_pixels

# A JPEG may have so many times the pixels of other pictures, because it is decoded at a smaller scale.
_SHRUNK_FACTOR = 4


def read_picture(path: str, limits: Limits) -> dict[str, Any]:
    """Checks the size in the header first: a file of 100 kB may have 900 million pixels."""
    from phoenix import still_pictures  # noqa: PLC0415 - imported only for pictures

    with still_pictures.open_header(Path(path)) as picture:
        stored = picture.size
        most = limits.max_pixels * (_SHRUNK_FACTOR if still_pictures.can_shrink(picture) else 1)
        check_pixels(*stored, most)
        # The whole file is checked at any scale.
        still_pictures.shrink(picture, 1)
        try:
            still_pictures.load_pixels(picture)
        except still_pictures.UnsupportedPicture as error:
            raise UnreadableFile(str(error)) from None
        width, height = still_pictures.shown_size(picture, stored)
        return {"media": "image", "width": width, "height": height, "pixel_format": picture.mode}
