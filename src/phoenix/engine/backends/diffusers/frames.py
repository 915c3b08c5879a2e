"""Converts a pipeline's floats to rgb24 frames one at a time, so that a clip is never copied as floats."""

from typing import Any

import torch

from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.spec import Frame
from phoenix.errors import FailureCode, Stage, TaskFailed


def to_rgb24(video: Any, clip: ResolvedClip) -> list[Frame]:
    """Frames in host memory, from a tensor `[frames, 3, height, width]` of 0 to 1.

    Raises `TaskFailed` if the tensor is not as requested: a pipeline may round the number of frames with only a log
    line, and weights in the wrong precision give NaN, which would be encoded as black.
    """
    wanted = (clip.num_frames, 3, clip.height, clip.width)
    if tuple(video.shape) != wanted:
        raise _broken(
            f"the pipeline made {_shape(video)} where {_shape(torch.empty(wanted, device='meta'))} was asked for"
        )
    return [_to_bytes(frame) for frame in video]


def _to_bytes(frame: torch.Tensor) -> Frame:
    if not bool(frame.isfinite().all()):
        raise _broken("the pipeline made values that are not numbers; try dtype float32 for the model or its VAE")
    pixels = frame.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().cpu().numpy().tobytes()


def _shape(video: torch.Tensor) -> str:
    if video.dim() != 4:
        return f"a tensor of {video.dim()} dimensions"
    frames, _, height, width = video.shape
    return f"{frames} frames of {width}x{height}"


def _broken(reason: str) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, reason, stage=Stage.DECODE)
