"""Which ffmpeg is used and how: found once at start-up, passed to everything that runs it."""

import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec

from phoenix.errors import PhoenixError
from phoenix.media.commands.video import Encoding
from phoenix.settings import MediaSettings


class FfmpegMissing(PhoenixError):
    """There is no ffmpeg: install `phoenix[media]`, put one on PATH, or set PHOENIX_MEDIA__FFMPEG."""


@dataclass(frozen=True)
class MediaTools:
    """The program, how it encodes, and how long one run may take."""

    ffmpeg: str
    encoding: Encoding = field(default_factory=Encoding)
    timeout_s: float = 900
    probe_timeout_s: float = 10
    max_part_s: float = 36_000

    @classmethod
    def from_settings(cls, settings: MediaSettings) -> "MediaTools":
        """Raises `FfmpegMissing`."""
        return cls(
            ffmpeg=find_ffmpeg(settings.ffmpeg),
            encoding=Encoding(preset=settings.preset, crf=settings.crf, threads=settings.threads),
            timeout_s=settings.timeout_s,
            probe_timeout_s=settings.probe_timeout_s,
        )


def find_ffmpeg(configured: str | None = None) -> str:
    """The configured ffmpeg, else the one that imageio-ffmpeg brings, else the one on PATH."""
    for candidate in (configured,) if configured else (_bundled_ffmpeg(), "ffmpeg"):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise FfmpegMissing(f"PHOENIX_MEDIA__FFMPEG: there is no program {configured}." if configured else None)


def _bundled_ffmpeg() -> str | None:
    if find_spec("imageio_ffmpeg") is None:
        return None
    # Comes with an extra; a machine that has its own ffmpeg does without it.
    import imageio_ffmpeg  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return None
