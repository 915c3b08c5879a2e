"""Writes the poster of a video: one of its frames as a JPEG."""

from pathlib import Path

from phoenix.errors import Stage
from phoenix.media.commands import video as commands
from phoenix.media.ffmpeg import UNWATCHED, Watch, run_ffmpeg
from phoenix.media.tools import MediaTools

_LATEST_S = 1.0


def write_poster(
    video: Path,
    output: Path,
    *,
    duration_s: float,
    tools: MediaTools,
    width_px: int = 640,
    watch: Watch = UNWATCHED,
) -> None:
    """Writes a JPEG, at most `width_px` wide, of a frame near the start: the very first may still be black."""
    for at_s in (min(_LATEST_S, duration_s / 2), 0):
        run_ffmpeg(commands.poster(video, at_s, width_px, output), tools=tools, stage=Stage.ASSEMBLE, watch=watch)
        # A video of one frame has none half-way through: ffmpeg then succeeds without writing a file.
        if output.exists():
            return
