"""The outcome of an operation of the service."""

from dataclasses import dataclass

from phoenix.errors import FailureCode, Stage, TaskFailed


@dataclass(frozen=True)
class OperationResult:
    """The outcome of an operation that ended: an MP4, or the failure."""

    outcome: bytes | TaskFailed


def check_size(mp4: bytes, max_video_bytes: int) -> OperationResult:
    """Returns the video as the outcome, or a failure if the video is too large."""
    if len(mp4) > max_video_bytes:
        return no_video(f"Google's video has {len(mp4)} bytes, more than {max_video_bytes}")
    return OperationResult(mp4)


def no_video(detail: str) -> OperationResult:
    """Returns the outcome of an operation without a video that can be used. Another attempt would not help."""
    return OperationResult(TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE))
