"""Errors about media, and the failure for an exit of ffmpeg."""

import re
import signal

from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed

_ABSOLUTE_PATH = re.compile(r"(?:file:)?/(?:[^\s'\"/:]+/)+")
_FULL_DISK = ("No space left on device", "Disk quota exceeded", "File too large")
_BAD_INPUT = (
    "Invalid data found when processing input",
    "moov atom not found",
    "could not find codec parameters",
    "does not contain any stream",
    "matches no streams",
    "whitelist",
)
_TAIL_LINES = 4


class UnreadableMedia(PhoenixError):
    """The file is no usable media. `index` is the position of the file in a list of files."""

    def __init__(self, detail: str | None = None, *, index: int = 0) -> None:
        super().__init__(detail)
        self.index = index


class MediaStopped(PhoenixError):
    """The command was stopped on request."""


def invalid_media(detail: str, stage: Stage) -> TaskFailed:
    """Returns the failure for a task with unusable input. Not retriable."""
    return TaskFailed(FailureCode.MEDIA_INVALID, detail, stage=stage)


def explain_exit(returncode: int, stderr: str, stage: Stage) -> TaskFailed:
    """Returns the failure for a failed run of ffmpeg. Its message may be shown to the owner of the job."""
    tail = public_tail(stderr)
    if any(sign in stderr for sign in _FULL_DISK):
        return TaskFailed(FailureCode.STORAGE_FAILED, f"no space to write to: {tail}", stage=stage, retriable=True)
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return TaskFailed(FailureCode.ENGINE_FAILED, f"ffmpeg was ended by {name}", stage=stage, retriable=True)
    if any(sign in stderr for sign in _BAD_INPUT):
        return invalid_media(f"ffmpeg could not read its input: {tail}", stage)
    detail = f"ffmpeg ended with status {returncode}: {tail}"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=stage, retriable=True)


def public_tail(stderr: str) -> str:
    """Returns the last lines of ffmpeg's error output, without the paths of this server."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return _ABSOLUTE_PATH.sub("", "; ".join(lines[-_TAIL_LINES:]))
