"""Errors about media, and the failure for an exit of ffmpeg."""

import re
import signal

from phoenix.disk_space import FULL_DISK_SIGNS
from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed, no_space

_ABSOLUTE_PATH = re.compile(r"(?:file:)?/(?:[^\s'\"/:]+/)+")
_TOO_LARGE = "File too large"
"""The file system, or a limit of the process, takes no larger file: more space would not help."""

_BAD_INPUT = (
    "Invalid data found when processing input",
    "moov atom not found",
    "could not find codec parameters",
    "does not contain any stream",
    "matches no streams",
    "whitelist",
)
_OF_NVENC = re.compile(r"^\[h264_nvenc @ \w+\] (.+)$", re.MULTILINE)
"""The first line of the encoder has the reason. The last lines of ffmpeg do not."""
_MEMORY = "memory: PHOENIX_MEDIA__MAX_MEMORY_BYTES"
_LIMITS_BY_SIGNAL = {
    signal.SIGXFSZ: "the size of a file: PHOENIX_MEDIA__MAX_FILE_BYTES",
    signal.SIGXCPU: "processor time, which follows from PHOENIX_MEDIA__TIMEOUT_S",
}
_LIMITS_BY_MESSAGE = {
    "Cannot allocate memory": _MEMORY,
    # In the words of libx264.
    "malloc of size": _MEMORY,
    # A thread was refused, because there was no memory for its stack, or because the container has too many.
    "Resource temporarily unavailable": "threads: PHOENIX_MEDIA__MAX_MEMORY_BYTES, or the processes of its container",
    "Too many open files": "open files",
}
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
    if limit := _find_limit(returncode, stderr):
        # A signal comes for this command only. A message can also come from a host that has too much to do.
        is_passing = returncode >= 0
        return TaskFailed(
            FailureCode.MEDIA_LIMIT, f"ffmpeg reached its limit on {limit}", stage=stage, retriable=is_passing
        )
    tail = public_tail(stderr)
    if any(sign in stderr for sign in FULL_DISK_SIGNS):
        return no_space(f"no space to write to: {tail}", stage=stage)
    if _TOO_LARGE in stderr:
        return TaskFailed(FailureCode.STORAGE_FAILED, f"the file is too large: {tail}", stage=stage, retriable=True)
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return TaskFailed(FailureCode.ENGINE_FAILED, f"ffmpeg was ended by {name}", stage=stage, retriable=True)
    if any(sign in stderr for sign in _BAD_INPUT):
        return invalid_media(f"ffmpeg could not read its input: {tail}", stage)
    reason = _OF_NVENC.search(stderr)
    what = f"ffmpeg ended with status {returncode}: {tail}"
    if reason is not None:
        what = f"the encoder h264_nvenc failed: {reason[1]}"
    return TaskFailed(FailureCode.ENGINE_FAILED, what, stage=stage, retriable=True)


def _find_limit(returncode: int, stderr: str) -> str | None:
    """Returns the name of the resource limit that ended ffmpeg."""
    for number, limit in _LIMITS_BY_SIGNAL.items():
        if returncode == -number:
            return limit
    return next((limit for sign, limit in _LIMITS_BY_MESSAGE.items() if sign in stderr), None)


def public_tail(stderr: str) -> str:
    """Returns the last lines of ffmpeg's error output, without the paths of this server."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return _ABSOLUTE_PATH.sub("", "; ".join(lines[-_TAIL_LINES:]))
