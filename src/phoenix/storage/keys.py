"""Keys of stored objects, built only from the server's own ids, so that no key can leave its folder.

Outputs are stored under the attempt that made them: two attempts at one task never write to the same key.
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
    """Files that one attempt at a task can leave."""

    CLIP = "clip.mp4"
    OUTPUT = "output.mp4"
    SOUNDTRACK = "soundtrack.m4a"
    THUMBNAIL = "thumbnail.jpg"


MEDIA_TYPES = {"mp4": "video/mp4", "m4a": "audio/mp4", "png": "image/png", "jpg": "image/jpeg"}


def upload_key(artifact_id: ArtifactId) -> ObjectKey:
    return checked_key(f"uploads/{artifact_id}")


def output_key(job_id: JobId, task_id: TaskId, attempt: int, name: OutputName) -> ObjectKey:
    return checked_key(f"jobs/{job_id}/{task_id}/{attempt}/{name}")


def job_prefix(job_id: JobId) -> str:
    """All that a job has stored lies under this."""
    return checked_prefix(f"jobs/{job_id}")


def attempt_prefix(job_id: JobId, task_id: TaskId, attempt: int) -> str:
    return checked_prefix(f"jobs/{job_id}/{task_id}/{attempt}")


def resource_id_of(key: str) -> str:
    """Id of the upload or job that the object belongs to."""
    return checked_key(key).split("/")[1]


def media_type_of(key: str) -> str | None:
    """The media type by the key's suffix; None for an upload, whose key has none."""
    return MEDIA_TYPES.get(checked_key(key).rpartition(".")[2])


def is_key(text: str) -> bool:
    """Whether this is a key that this module builds; objects with other names are not ours."""
    return _KEY.fullmatch(text) is not None


def checked_key(text: str) -> ObjectKey:
    """The same text as a key. Raises `ValueError` if it is not one that this module builds."""
    if not is_key(text):
        raise ValueError(f"not an object key: {text!r}")
    return ObjectKey(text)


def checked_prefix(text: str) -> str:
    """The same text. Raises `ValueError` if it is not a folder of keys that this module builds."""
    if not _PREFIX.fullmatch(text):
        raise ValueError(f"not a prefix of object keys: {text!r}")
    return text
