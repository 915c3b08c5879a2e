"""A job as its owner sees it, and what the owner can change of it."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from phoenix.contract.artifacts import SIGNED_URL
from phoenix.contract.requests import Metadata, QueueTimeoutS
from phoenix.contract.resolved import ResolvedRequest
from phoenix.contract.wire_types import (
    JobKind,
    Omittable,
    Priority,
    Progress,
    Request,
    Tags,
    Text,
    Timestamp,
    View,
)
from phoenix.errors import FailureCode, Stage


class WaitingCode(StrEnum):
    """The kind of thing that a job waits for. A later version may have more."""

    AHEAD = "AHEAD"
    NO_WORKER_FOR_MODEL = "NO_WORKER_FOR_MODEL"
    NO_WORKER_FOR_QUEUE = "NO_WORKER_FOR_QUEUE"
    PAUSED = "PAUSED"
    AT_YOUR_LIMIT = "AT_YOUR_LIMIT"
    NO_ROOM_ON_DEVICE = "NO_ROOM_ON_DEVICE"
    RETRY_AT = "RETRY_AT"
    STORAGE_FULL = "STORAGE_FULL"
    BLOCKED_BY_CLIPS = "BLOCKED_BY_CLIPS"
    BLOCKED_BY_DRAFT = "BLOCKED_BY_DRAFT"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    LOADING_MODEL = "LOADING_MODEL"


class WaitingReason(View):
    """What an unfinished job waits for, while nothing of it advances."""

    code: WaitingCode
    detail: str = Field(description="The reason in English, with the remedy if there is one.")


class JobState(StrEnum):
    """The state of a job. `held`, `queued` and `running` may change; the other states are final until a retry.

    A `held` job waits for its draft, and then for the approval of the draft.
    """

    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        return self not in (JobState.HELD, JobState.QUEUED, JobState.RUNNING)


class ClipState(StrEnum):
    """The state of a clip."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class JobError(View):
    """The reason why a job or a clip did not succeed."""

    code: FailureCode
    message: str
    retriable: bool = Field(description="Whether a retry of the job may end differently.")
    stage: Stage
    clip_index: int | None = None


class ClipTimings(View):
    """Seconds of each stage of the attempt that succeeded; null for a stage that did not happen."""

    queue_s: float | None = None
    load_s: float | None = None
    text_s: float | None = None
    denoise_s: float | None = None
    decode_s: float | None = None
    postprocess_s: float | None = None
    encode_s: float | None = None
    upload_s: float | None = None
    total_s: float | None = None


PROMPT_CUT = "PROMPT_CUT"
"""Code of the warning that an encoder of the model did not read the whole prompt, or the whole negative prompt."""


class ClipWarning(View):
    """Something about a finished clip that its author should know: its model did not read the whole prompt."""

    # Plain text: a code of a later version must not make the job unreadable.
    code: str = Field(
        description="`PROMPT_CUT`: the prompt, or the negative prompt, has more tokens than an encoder of the model "
        "reads. Later versions may have other codes."
    )
    message: str
    encoder: str = Field(description="The encoder that cut the prompt.", examples=["text_encoder_2"])
    tokens: int = Field(description="Tokens of the prompt, with special tokens and with the model's template.")
    limit: int = Field(description="The most tokens that the encoder reads, counted in the same way.")


class CheckCode(StrEnum):
    """The kind of a failed check. A later version may have more."""

    BLACK = "BLACK"
    FROZEN = "FROZEN"
    SILENT = "SILENT"
    CLIPPED_SOUND = "CLIPPED_SOUND"
    NO_FACE = "NO_FACE"


class ClipCheck(View):
    """Something that is probably wrong with a finished clip."""

    # Plain text: a code of a later version must not make the job unreadable.
    code: str = Field(
        description="`BLACK`: every frame is black. `FROZEN`: nothing moves, in the whole clip or for two seconds. "
        "`SILENT`: its sound is silent. `CLIPPED_SOUND`: its sound is cut off at full scale. `NO_FACE`: its lips "
        "should move, and no frame has a face."
    )
    message: str


class Take(View):
    """One take of a clip: the same clip with another seed."""

    take: int = Field(description="Number of the take, from 0.")
    index: int = Field(
        description="Index of the take in events, in errors and in `GET /v1/jobs/{job_id}/clips/{index}/content`. The "
        "take that the reel shows has the index of its clip, and the indices of the others follow the clips."
    )
    is_shown: bool = Field(description="Whether the reel shows this take.")
    seed: int
    state: ClipState
    progress: Progress
    attempt: int
    reused: bool
    error: JobError | None = None
    artifact_id: str | None = None
    url: str | None = Field(default=None, description="The MP4 of the take, as soon as it is done.")


class Clip(View):
    """One clip of a reel, with the progress of its newest attempt."""

    index: int
    prompt: str
    caption: str = Field(default="", description="Empty for no caption of its own.")
    narration: str = Field(default="", description="Empty for no narration.")
    state: ClipState
    waits_for_clip: int | None = Field(
        default=None,
        description="Index of the clip that this clip continues, until that clip has succeeded; null once this clip "
        "may start, and for a clip that continues no other.",
    )
    progress: Progress
    step: int = 0
    steps: int
    attempt: int = Field(description="Number of the newest attempt; 0 before the first.")
    seed: int
    reused: bool = Field(
        default=False,
        description="Whether the clip has the file of an equal clip of yours, and was not rendered for this job.",
    )
    error: JobError | None = None
    artifact_id: str | None = None
    url: str | None = Field(default=None, description="The clip's MP4, as soon as it is done.")
    signed_url: str | None = Field(default=None, description=SIGNED_URL)
    timings: ClipTimings = ClipTimings()
    batch_size: int | None = Field(
        default=None, description="Clips rendered in the same model call, this one included; null until done."
    )
    peak_memory_bytes: int | None = Field(
        default=None,
        description="The most memory that its worker had on the device while the clip was rendered, with the weights; "
        "null until done, on a CPU, and for a reused clip.",
    )
    warnings: list[ClipWarning] = Field(default_factory=list[ClipWarning], description="Empty until the clip is done.")
    checks: list[ClipCheck] = Field(
        default_factory=list[ClipCheck], description="The checks that the finished clip has failed."
    )
    rerolled_from: int | None = Field(
        default=None,
        description="The first seed of a clip that was rendered again because of a failed check. `seed` is the next.",
    )
    made_with: dict[str, str] = Field(
        default_factory=dict,
        description="Versions of the packages that rendered the clip. With other versions, its pixels may differ.",
    )
    takes: list[Take] = Field(
        default_factory=list[Take], description="All takes of the clip, in order; empty for a clip with one take."
    )


class CaptionFile(View):
    """A file with the captions of a reel."""

    format: str = Field(description="`srt` or `vtt`.")
    artifact_id: str
    url: str


class JobOutput(View):
    """The result of a job: a stored file."""

    artifact_id: str
    url: str
    signed_url: str | None = Field(default=None, description=SIGNED_URL)
    duration_s: float
    width: int | None = Field(description="Pixels; null for sound.")
    height: int | None = Field(description="Pixels; null for sound.")
    fps: float | None
    size_bytes: int
    sha256: str
    captions: list[CaptionFile] = Field(
        default_factory=list[CaptionFile], description="Empty for a result without captions."
    )


class JobTimings(View):
    """Seconds; null until known. `render_s` is the sum over all clips, so it can exceed `total_s`."""

    queue_s: float | None = None
    render_s: float | None = None
    assemble_s: float | None = None
    total_s: float | None = None


class Job(View):
    """A job: its state, its progress and its result."""

    id: str = Field(examples=["job_01kag3e9zq4f7w5m8x2c6b0n1d"])
    owner_id: str | None = Field(
        default=None, description="Id of the key that made the job; `anonymous` if no key was required."
    )
    words_hidden: bool = Field(
        default=False,
        description="Whether the words of another owner are left out: its prompts, captions and narration, which read "
        "`(hidden)`, and its title, tags and metadata.",
    )
    kind: JobKind
    state: JobState
    progress: Progress
    model: str | None = None
    title: str | None = None
    tags: list[str] = Field(default_factory=list)
    favorite: bool = Field(default=False, description="Whether you have marked the job.")
    edited_from: str | None = Field(default=None, description="Id of the job of which this job is an edit.")
    draft_job_id: str | None = Field(
        default=None, description="Id of the job that renders the draft, which is approved before this job continues."
    )
    draft_of: str | None = Field(default=None, description="Id of the job of which this job renders the draft.")
    queue_position: int | None = Field(
        default=None, description="Number of jobs that start before this one; null once it runs."
    )
    eta_s: float | None = Field(default=None, description="Estimated seconds until the job ends; null if unknown.")
    waiting_reason: WaitingReason | None = Field(
        default=None, description="What the job waits for; null while a part of it advances, and once it has ended."
    )
    clips: list[Clip] = Field(default_factory=list[Clip])
    output: JobOutput | None = None
    error: JobError | None = None
    timings: JobTimings = JobTimings()
    priority: Priority
    metadata: dict[str, str] = Field(default_factory=dict)
    cancel_requested: bool = Field(
        default=False, description="A running job ends as `canceled` once its workers confirm."
    )
    last_seq: int = Field(description="Number of the last durable event.")
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    request_id: str | None = None
    request: ResolvedRequest


class JobChanges(Request):
    """What to change of a job. What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    title: Omittable[Annotated[Text, Field(max_length=200)]] = Field(
        default=None, description="A name of yours for the job; an empty text removes it."
    )
    tags: Omittable[Tags] = Field(default=None, description="Replaces all tags.")
    favorite: Omittable[Annotated[bool, Field(strict=True)]] = None
    metadata: Omittable[Metadata] = Field(default=None, description="Replaces the metadata.")
    priority: Omittable[Priority] = Field(default=None, description="Only while the job is queued.")
    queue_timeout_s: Omittable[QueueTimeoutS] = Field(
        default=None, description="Counted from when the job was queued. Only while the job is queued."
    )

    position: Omittable[Literal["front"]] = Field(
        default=None,
        description="Moves the waiting parts of the job to the front of their queues, before the jobs of all keys. "
        "Only while the job is queued or running; requires the scope `admin`.",
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(value is None for _, value in self):
            raise ValueError(f"this changes nothing; give one of {', '.join(type(self).model_fields)}")
        return self


class JobPage(View):
    """A page of jobs, newest first."""

    data: list[Job]
    has_more: bool
    next_cursor: str | None = Field(default=None, description="Pass it as `cursor` to get the next page.")


class FileManifest(View):
    """A stored file, and its hash."""

    artifact_id: str
    sha256: str | None = Field(description="Null if the file was deleted.")
    size_bytes: int | None = Field(description="Null if the file was deleted.")


class InputManifest(FileManifest):
    """A file that the request names."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the request.", examples=["/soundtrack/artifact_id"])


class ClipManifest(FileManifest):
    """The file of a clip, and what made it."""

    index: int
    seed: int
    rerolled_from: int | None = None
    content_key: str | None = Field(description="Hash of what decides the clip, without versions; null if not known.")
    reused: bool
    made_with: dict[str, str] = Field(description="Versions of the packages and of ffmpeg that made the file.")


class OutputManifest(FileManifest):
    """The result, and what joined it."""

    made_with: dict[str, str] = Field(description="Versions of Phoenix and of other software that made the file.")
    is_signed: bool = Field(
        default=False, description="Whether the file has Content Credentials (C2PA), signed by the operator."
    )


class ReplayRequest(View):
    """A request that makes the same result again, as far as the versions of the software do."""

    path: str = Field(examples=["/v1/reels"])
    body: dict[str, Any]


class JobManifest(View):
    """What a result was made of, and with what."""

    version: int = Field(default=1, description="Version of this form of a manifest.")
    job_id: str
    kind: JobKind
    created_at: Timestamp
    finished_at: Timestamp | None
    request: ResolvedRequest
    replay: ReplayRequest
    inputs: list[InputManifest]
    clips: list[ClipManifest]
    output: OutputManifest
