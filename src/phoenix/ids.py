"""Identifiers: a prefix for the kind of thing, then a ULID, so that ids sort by the time of their creation."""

from typing import NewType

JobId = NewType("JobId", str)
TaskId = NewType("TaskId", str)
ArtifactId = NewType("ArtifactId", str)
WorkerId = NewType("WorkerId", str)
DeliveryId = NewType("DeliveryId", str)
StoryboardId = NewType("StoryboardId", str)

JOB_ID_PATTERN = r"^job_[0-9a-z]{26}$"
ARTIFACT_ID_PATTERN = r"^art_[0-9a-z]{26}$"
DELIVERY_ID_PATTERN = r"^whd_[0-9a-z]{26}$"
STORYBOARD_ID_PATTERN = r"^stb_[0-9a-z]{26}$"


def _new(prefix: str) -> str:
    from ulid import ULID  # noqa: PLC0415 - the client for Python has the patterns, and makes no ids

    return f"{prefix}_{str(ULID()).lower()}"


def new_job_id() -> JobId:
    return JobId(_new("job"))


def new_task_id() -> TaskId:
    return TaskId(_new("task"))


def new_artifact_id() -> ArtifactId:
    return ArtifactId(_new("art"))


def new_worker_id() -> WorkerId:
    return WorkerId(_new("wrk"))


def new_delivery_id() -> DeliveryId:
    return DeliveryId(_new("whd"))


def new_storyboard_id() -> StoryboardId:
    return StoryboardId(_new("stb"))


def new_audit_id() -> str:
    return _new("act")


def new_video_id() -> str:
    return _new("vid")


def new_measurement_id() -> str:
    return _new("mea")


def new_frame_session_id() -> str:
    return _new("fse")


def new_request_id() -> str:
    return _new("req")
