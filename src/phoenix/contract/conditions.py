"""The pictures, videos and sounds that guide a clip, each with a role and a source."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from phoenix.contract.artifacts import MediaKind
from phoenix.contract.wire_types import NUMBER, WHOLE, Omittable, Request, View
from phoenix.ids import ARTIFACT_ID_PATTERN, JOB_ID_PATTERN

MAX_CONDITIONS = 16
"""Conditions of one clip."""

ArtifactRef = Annotated[str, Field(pattern=ARTIFACT_ID_PATTERN, examples=["art_01kag3e9zq4f7w5m8x2c6b0n1d"])]
JobRef = Annotated[str, Field(pattern=JOB_ID_PATTERN, examples=["job_01kag3e9zq4f7w5m8x2c6b0n1d"])]

ConditionRole = Literal[
    "first_frame",
    "last_frame",
    "keyframe",
    "reference",
    "source_video",
    "control_pose",
    "control_face",
    "control_depth",
    "control_edge",
    "mask",
    "audio",
]

PICTURE_ROLES: frozenset[ConditionRole] = frozenset({"first_frame", "last_frame", "keyframe", "reference"})
SOUND_ROLES: frozenset[ConditionRole] = frozenset({"audio"})
VIDEO_ROLES: frozenset[ConditionRole] = frozenset(get_args(ConditionRole)) - PICTURE_ROLES - SOUND_ROLES
TIMED_ROLES: frozenset[ConditionRole] = frozenset({"keyframe"})
"""Roles with a time in the clip."""


def media_of(role: ConditionRole) -> MediaKind:
    """The kind of file that a role wants."""
    return "image" if role in PICTURE_ROLES else "audio" if role in SOUND_ROLES else "video"


def _is_none(value: object) -> bool:
    return value is None


class ClipSource(Request):
    """A finished clip of a job of yours."""

    job_id: JobRef
    clip_index: Annotated[int, Field(ge=0, lt=500), WHOLE]


def _only_true(value: object) -> object:
    # To Python 1 is equal to true, so the literal alone would take it.
    if value is not True:
        raise ValueError("write true, or leave it out")
    return value


class ConditionSource(Request):
    """Where a condition comes from: an artifact, a finished clip, or the previous clip; exactly one of the three.

    A clip as the source of a picture gives its last frame.
    """

    # This type is also part of a job's view; a field that was not given is left out there, as the schema says.
    artifact_id: Omittable[ArtifactRef] = Field(default=None, exclude_if=_is_none, description="An artifact of yours.")
    job_id: Omittable[JobRef] = Field(
        default=None, exclude_if=_is_none, description="A job of yours with a finished clip; goes with `clip_index`."
    )
    clip_index: Omittable[Annotated[int, Field(ge=0, lt=500), WHOLE]] = Field(
        default=None, exclude_if=_is_none, description="The clip of the job `job_id`, from 0."
    )
    previous_clip: Omittable[Annotated[Literal[True], BeforeValidator(_only_true)]] = Field(
        default=None, exclude_if=_is_none, description="The clip before this clip, in the same reel."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.job_id is None) != (self.clip_index is None):
            raise ValueError("give job_id and clip_index together")
        if [self.artifact_id, self.job_id, self.previous_clip].count(None) != 2:
            raise ValueError("give exactly one of artifact_id, job_id with clip_index, or previous_clip")
        return self


class Condition(Request):
    """A picture, a video or a sound that guides a clip. `GET /v1/models` lists the roles that a model takes."""

    role: ConditionRole = Field(
        description="`first_frame`, `last_frame`, `keyframe` and `reference` are pictures, `audio` is a sound, and the "
        "other roles are videos. A `mask` is white where the model makes something new."
    )
    source: ConditionSource
    at_s: Omittable[Annotated[float, Field(ge=0, le=600), NUMBER]] = Field(
        default=None, description="Seconds from the start of the clip. A `keyframe` needs it; other roles have no time."
    )
    strength: Omittable[Annotated[float, Field(ge=0, le=10), NUMBER]] = Field(
        default=None, description="How strongly it acts, for the roles with a range of strengths in `GET /v1/models`."
    )


Conditions = Annotated[list[Condition], Field(max_length=MAX_CONDITIONS)]


class ResolvedCondition(View):
    """A condition of a clip with every default filled in. The list has the order of the request."""

    role: ConditionRole
    source: ConditionSource
    clip_artifact_id: str | None = Field(
        default=None, description="The file of the finished clip that `source` names; null for any other source."
    )
    at_s: float | None = Field(default=None, description="Seconds from the start of the clip; null without a time.")
    strength: float | None = Field(default=None, description="Null if the model takes no strength for this role.")
    overlap_s: float | None = Field(
        default=None, description="Seconds of the end of the video with which the clip begins; null for other uses."
    )

    def as_requested(self) -> Condition:
        """The condition as a request may have it again."""
        return Condition(role=self.role, source=self.source, at_s=self.at_s, strength=self.strength)

    @property
    def artifact_id(self) -> str | None:
        """The file of the source; None for the previous clip, whose file does not exist when the job is submitted."""
        return self.source.artifact_id or self.clip_artifact_id

    @property
    def is_from_clip(self) -> bool:
        """Whether the source is a clip: as a picture, it gives its last frame."""
        return self.source.artifact_id is None
