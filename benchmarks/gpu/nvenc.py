"""What NVENC saves over libx264 at the settings of the service, and how large its files are."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from turns import Figure, Run

from phoenix.contract import ResolvedClip
from phoenix.media.commands.video import Picture
from phoenix.media.encode import encode_frames
from phoenix.media.encoders import EncoderUnusable, open_tools
from phoenix.media.ffmpeg import MediaTools
from phoenix.settings import MediaSettings

Compare = Callable[[str, Run, Run], Iterator[Figure]]


def measure_nvenc(
    clip: ResolvedClip, settings: MediaSettings, folder: Path, device: str, compare: Compare
) -> Iterator[Figure]:
    """Prints the reason and yields nothing if NVENC does not work here."""
    software = open_tools(settings)
    try:
        card = open_tools(settings.model_copy(update={"encoder": "nvenc"}), device=device)
    except EncoderUnusable as unusable:
        print(f"nvenc was left out: {unusable.detail}", flush=True)
        return
    frames = _moving_pattern(clip)
    sizes = [_encode(frames, clip, folder / f"{tools.encoding.encoder}.mp4", tools) for tools in (software, card)]
    yield from compare(
        "gain of NVENC over libx264",
        lambda: _encode(frames, clip, folder / "libx264.mp4", software),
        lambda: _encode(frames, clip, folder / "h264_nvenc.mp4", card),
    )
    yield Figure("file of NVENC / file of libx264", sizes[1] / sizes[0], "x")


def _moving_pattern(clip: ResolvedClip) -> list[bytes]:
    """Waves that move, with noise: neither still, nor all noise."""
    noise = np.random.default_rng(1).integers(0, 16, (clip.height, clip.width, 3))
    rows, columns = np.mgrid[: clip.height, : clip.width]
    waves = [100 + 80 * np.sin((rows + columns * 2 + 9 * number) / 40) for number in range(clip.num_frames)]
    return [(wave[..., None] + noise).astype(np.uint8).tobytes() for wave in waves]


def _encode(frames: list[bytes], clip: ResolvedClip, output: Path, tools: MediaTools) -> int:
    """Returns the size of the file in bytes."""
    encode_frames(frames, Picture(clip.width, clip.height, Fraction(clip.fps)), output, tools=tools)
    return output.stat().st_size
