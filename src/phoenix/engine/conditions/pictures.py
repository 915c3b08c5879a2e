"""Opens the pictures that guide a clip, for every backend: the same picture makes the same clip everywhere."""

from pathlib import Path

from PIL import Image, ImageOps

from phoenix.contract import ResolvedClip
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.still_pictures import open_picture

# A photo that is decoded at twice the size of the clip looks as sharp in the clip as the whole photo.
_SHARP_FACTOR = 2


def open_condition_picture(path: Path, clip: ResolvedClip) -> Image.Image:
    """Returns the picture as RGB of 8 bits in the size of the clip, cropped around the middle.

    A squeezed picture would make a squeezed clip. Raises `TaskFailed` (MEDIA_INVALID) if the picture cannot be read.
    """
    return ImageOps.fit(_open(path, clip), (clip.width, clip.height), Image.Resampling.LANCZOS)


def open_whole_picture(path: Path, clip: ResolvedClip) -> Image.Image:
    """Returns the whole picture as RGB of 8 bits, made smaller to fit into the clip. Raises as the other function."""
    picture = _open(path, clip)
    scale = min(1, clip.width / picture.width, clip.height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _open(path: Path, clip: ResolvedClip) -> Image.Image:
    try:
        return open_picture(path, _SHARP_FACTOR * max(clip.width, clip.height))
    except (OSError, ValueError, SyntaxError) as error:
        reason = f"a picture of the clip cannot be read: {error}"
        raise TaskFailed(FailureCode.MEDIA_INVALID, reason, stage=Stage.FETCH) from error
