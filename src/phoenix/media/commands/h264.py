"""How H.264 is encoded: by libx264 on the processor, or by NVENC on an NVIDIA card."""

from dataclasses import dataclass
from typing import Any, Literal

H264Encoder = Literal["libx264", "h264_nvenc"]

NVENC_PRESETS = {
    "ultrafast": "p1",
    "superfast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p3",
    "medium": "p4",
    "slow": "p5",
    "slower": "p6",
    "veryslow": "p7",
    "placebo": "p7",
}
"""The preset of NVENC that stands for a preset of x264: `p1` is the fastest, `p7` the best."""

NVENC_SMALLEST_PX = 256
NVENC_LARGEST_PX = 4096
"""Sides of pictures that every card encodes. The smallest one of a card is 145 pixels or less; the largest is 4096."""


@dataclass(frozen=True)
class Encoding:
    """Settings of the H.264 encoder, in the terms of x264. With 0 threads, ffmpeg sets the number.

    `gpu` is the number of the card that encodes; the first one if None.
    """

    preset: str = "veryfast"
    crf: int = 20
    threads: int = 2
    encoder: H264Encoder = "libx264"
    gpu: int | None = None


def encoder_of(encoding: Encoding, width: int, height: int) -> H264Encoder:
    """Returns the encoder for a picture: libx264 for a size that a card may refuse."""
    is_usual = all(NVENC_SMALLEST_PX <= side <= NVENC_LARGEST_PX for side in (width, height))
    return encoding.encoder if is_usual else "libx264"


def h264_options(encoding: Encoding, width: int, height: int) -> dict[str, Any]:
    """Returns the output options that encode pictures of this size. The tags of BT.709 are on the frames already."""
    if encoder_of(encoding, width, height) == "libx264":
        return {
            "c:v": "libx264",
            "preset": encoding.preset,
            "crf": encoding.crf,
            "threads": encoding.threads,
            "pix_fmt": "yuv420p",
        }
    gpu = {} if encoding.gpu is None else {"gpu": encoding.gpu}
    return {
        "c:v": "h264_nvenc",
        "preset": NVENC_PRESETS[encoding.preset],
        "rc": "vbr",
        "cq": encoding.crf,
        # Otherwise a rate of 2 Mbit/s bounds the quality.
        "b:v": 0,
        "profile:v": "high",
        "pix_fmt": "yuv420p",
        **gpu,
    }
