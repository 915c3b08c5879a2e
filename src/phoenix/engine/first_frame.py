"""Opens the first frame of a clip for every backend: the same picture makes the same start everywhere."""

from pathlib import Path

from PIL import Image, ImageOps

from phoenix.contract import ResolvedClip
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.still_pictures import open_picture


def open_first_frame(path: Path, clip: ResolvedClip) -> Image.Image:
    """Returns the picture as RGB of 8 bits in the size of the clip, cropped around the middle.

    A squeezed picture would make a squeezed clip. Raises `TaskFailed` (MEDIA_INVALID) if the picture cannot be read.
    """
    try:
        picture = open_picture(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = f"the first frame cannot be read: {error}"
        raise TaskFailed(FailureCode.MEDIA_INVALID, reason, stage=Stage.FETCH) from error
    return ImageOps.fit(picture, (clip.width, clip.height), Image.Resampling.LANCZOS)
