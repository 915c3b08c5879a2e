"""Chooses the H.264 encoder of this process. Only a trial shows whether NVENC works: ffmpeg lists it on any machine."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from phoenix.errors import PhoenixError, Stage, TaskFailed
from phoenix.media.commands import video
from phoenix.media.commands.h264 import NVENC_SMALLEST_PX, H264Encoder
from phoenix.media.commands.video import Picture
from phoenix.media.ffmpeg import MediaTools, run_ffmpeg
from phoenix.settings import MediaSettings

_TRIAL = Picture(NVENC_SMALLEST_PX, NVENC_SMALLEST_PX, Fraction(8))
_TRIAL_FRAMES = 4


class EncoderUnusable(PhoenixError):
    """The encoder that the settings demand does not work here."""


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder, and why it was chosen."""

    encoder: H264Encoder
    reason: str


def open_tools(settings: MediaSettings, *, device: str = "cpu") -> MediaTools:
    """Returns ffmpeg with the encoder of the settings. A worker of `cuda:N` encodes on its own card.

    Raises `FfmpegMissing`, and `EncoderUnusable` with the reason if the settings demand NVENC and it does not work.
    Blocks for the trial of NVENC, once per process.
    """
    return choose_encoder(settings, device=device)[0]


def choose_encoder(settings: MediaSettings, *, device: str = "cpu") -> tuple[MediaTools, EncoderChoice]:
    """The same, with the choice."""
    tools = MediaTools.from_settings(settings)
    on_card = replace(tools, encoding=replace(tools.encoding, encoder="h264_nvenc", gpu=_number_of(device)))
    if settings.encoder == "software":
        return tools, EncoderChoice("libx264", "PHOENIX_MEDIA__ENCODER is software")
    choice = decide_encoder(settings, find_nvenc_refusal(on_card))
    return (on_card if choice.encoder == "h264_nvenc" else tools), choice


def decide_encoder(settings: MediaSettings, refusal: str | None) -> EncoderChoice:
    """Decides between the encoders, after a trial of NVENC that failed with `refusal`; None if it succeeded.

    Raises `EncoderUnusable`. Pure.
    """
    if refusal is None and settings.crf == 0:
        refusal = "PHOENIX_MEDIA__CRF=0 is lossless, which NVENC is not; set another value, or the encoder `software`"
    if refusal is None:
        return EncoderChoice("h264_nvenc", "a trial with NVENC succeeded")
    if settings.encoder == "nvenc":
        raise EncoderUnusable(f"PHOENIX_MEDIA__ENCODER is nvenc, and NVENC does not work here: {refusal}")
    return EncoderChoice("libx264", f"NVENC does not work here: {refusal}")


@cache
def find_nvenc_refusal(tools: MediaTools) -> str | None:
    """Encodes a tiny clip with NVENC, in the way of real clips. Returns why it failed; None if it succeeded."""
    with TemporaryDirectory(prefix="phoenix-encoder-") as folder:
        command = video.encode_frames(_TRIAL, tools.encoding, Path(folder, "trial.mp4"))
        frames = [b"\x80" * _TRIAL.frame_bytes] * _TRIAL_FRAMES
        try:
            result = run_ffmpeg(command, tools=tools, stage=Stage.ENCODE, stdin_chunks=frames)
        except TaskFailed as failed:
            # ffmpeg reads the options of an encoder that it lacks first, and complains of them.
            lacks_encoder = "Unrecognized option" in failed.detail or "Unknown encoder" in failed.detail
            return f"this ffmpeg has no encoder h264_nvenc ({failed.detail})" if lacks_encoder else failed.detail
    if result.progress.frames != _TRIAL_FRAMES:
        return f"{result.progress.frames} frames were encoded, not {_TRIAL_FRAMES}"
    return None


def _number_of(device: str) -> int | None:
    kind, _, number = device.partition(":")
    return int(number) if kind == "cuda" and number.isdigit() else None
