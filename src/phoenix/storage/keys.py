"""Keys of stored objects. Keys have only ids of the server in them, so that no key can point outside of its folder.

The key of an output contains the attempt: two attempts at a task never write to the same key.
"""

import re
from enum import StrEnum
from typing import NewType

from phoenix.ids import ArtifactId, JobId, TaskId

ObjectKey = NewType("ObjectKey", str)

_ULID = "[0-9a-z]{26}"
_JOB_PREFIX = f"jobs/job_{_ULID}"
_ATTEMPT_PREFIX = f"{_JOB_PREFIX}/task_{_ULID}/[1-9][0-9]{{0,5}}"
_KEY = re.compile(rf"uploads/art_{_ULID}|{_ATTEMPT_PREFIX}/[a-z_]{{1,32}}\.[a-z0-9]{{1,5}}")
_PREFIX = re.compile(rf"uploads|jobs|{_JOB_PREFIX}(/task_{_ULID}(/[1-9][0-9]{{0,5}})?)?")


class OutputName(StrEnum):
    """The files that an attempt at a task can store."""

    CLIP = "clip.mp4"
    OUTPUT = "output.mp4"
    SOUNDTRACK = "soundtrack.m4a"
    THUMBNAIL = "thumbnail.jpg"
    SEGMENTS = "segments.mp4"
    NARRATION = "narration.m4a"
    SRT = "captions.srt"
    VTT = "captions.vtt"


MEDIA_TYPES = {
    "mp4": "video/mp4",
    "m4a": "audio/mp4",
    "png": "image/png",
    "jpg": "image/jpeg",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}


def upload_key(artifact_id: ArtifactId) -> ObjectKey:
    """Returns the key of an upload."""
    return checked_key(f"uploads/{artifact_id}")


def output_key(job_id: JobId, task_id: TaskId, attempt: int, name: OutputName) -> ObjectKey:
    return checked_key(f"jobs/{job_id}/{task_id}/{attempt}/{name}")


def job_prefix(job_id: JobId) -> str:
    """Returns the folder of all objects of a job."""
    return checked_prefix(f"jobs/{job_id}")


def attempt_prefix(job_id: JobId, task_id: TaskId, attempt: int) -> str:
    return checked_prefix(f"jobs/{job_id}/{task_id}/{attempt}")


def media_type_of(key: str) -> str | None:
    """Returns the media type for the suffix of the key; None for an upload, whose key has no suffix."""
    return MEDIA_TYPES.get(checked_key(key).rpartition(".")[2])


def is_key(text: str) -> bool:
    """Returns whether the text is a key of this module. Objects with other names do not belong to Phoenix."""
    return _KEY.fullmatch(text) is not None


def checked_key(text: str) -> ObjectKey:
    """Returns the text as a key. Raises `ValueError` if it is no key of this module."""
    if not is_key(text):
        raise ValueError(f"not an object key: {text!r}")
    return ObjectKey(text)


def checked_prefix(text: str) -> str:
    """Returns the text unchanged. Raises `ValueError` if it is no folder of keys of this module."""
    if not _PREFIX.fullmatch(text):
        raise ValueError(f"not a prefix of object keys: {text!r}")
    return text
