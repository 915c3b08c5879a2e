"""Limits the rate, the size and the bytes of a clip's previews. The engines draw them."""

import time
from collections.abc import Callable
from io import BytesIO

from PIL import Image

MAX_PREVIEW_BYTES = 7_400
"""A data URL is a third larger than the preview, and stays below 10 kB."""

LONGER_SIDE_PX = 192
QUALITIES = (70, 50, 30, 15)


class PreviewThrottle:
    """Allows one preview of a clip per `interval_s`, the first after one interval. Allows none if the interval is 0."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._next_s = clock() + interval_s

    def is_due(self) -> bool:
        """Returns whether a preview is due. If so, the next preview is due one interval from now."""
        now_s = self._clock()
        if self._interval_s <= 0 or now_s < self._next_s:
            return False
        self._next_s = now_s + self._interval_s
        return True


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Returns width and height in pixels: the longer side is `LONGER_SIDE_PX`, the aspect ratio stays."""
    longer = max(width, height)
    return max(1, round(width * LONGER_SIDE_PX / longer)), max(1, round(height * LONGER_SIDE_PX / longer))


def to_jpeg(picture: Image.Image) -> bytes:
    """Returns a JPEG of at most `MAX_PREVIEW_BYTES`. Reduces the quality first, then the size."""
    while True:
        for quality in QUALITIES:
            stream = BytesIO()
            picture.save(stream, "JPEG", quality=quality)
            if stream.tell() <= MAX_PREVIEW_BYTES:
                return stream.getvalue()
        picture = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))
