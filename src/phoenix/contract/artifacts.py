"""Artifacts: stored files, as their owner sees them."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from phoenix.contract.wire_types import Timestamp, View


class ArtifactKind(StrEnum):
    """How a stored file was made: uploaded, or written by a task of a job."""

    UPLOAD = "upload"
    CLIP = "clip"
    OUTPUT = "output"
    SOUNDTRACK = "soundtrack"
    THUMBNAIL = "thumbnail"
    SEGMENTS = "segments"
    CAPTIONS = "captions"
    NARRATION = "narration"


SIGNED_URL = (
    "The URL with a token in it, for a player that cannot send headers; null unless asked for by `signed=true`."
)
"""What the fields of this name are. The token ends after a time, and with the key that asked for it."""

MediaKind = Literal["audio", "image", "video"]


class SpokenWord(View):
    """A word of a narration, and when it is spoken."""

    text: str
    start_s: float = Field(description="Seconds from the start of the narration.")
    end_s: float


class MediaInfo(View):
    """Properties of a media file, as probing found them. Null if the file has no such property."""

    media: str = Field(description="`audio`, `image` or `video`; `text` for captions.", examples=["audio"])
    format: str = Field(description="The container format.", examples=["mp3"])
    duration_s: float | None = Field(default=None, description="Seconds.")
    video_duration_s: float | None = Field(
        default=None, description="Seconds from the start of the file to the end of its picture."
    )
    audio_duration_s: float | None = Field(
        default=None, description="Seconds from the start of the file to the end of its sound."
    )
    width: int | None = Field(default=None, description="Pixels.")
    height: int | None = Field(default=None, description="Pixels.")
    fps: float | None = Field(
        default=None, description="Frames per second. The most likely rate if the frames are not at even distances."
    )
    num_frames: int | None = None
    video_codec: str | None = None
    pixel_format: str | None = None
    audio_codec: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    words: list[SpokenWord] = Field(default_factory=list[SpokenWord], description="The words of a narration, in order.")


class Artifact(View):
    """A stored file: an upload, or a file that a job has made."""

    id: str = Field(examples=["art_01kag3e9zq4f7w5m8x2c6b0n1d"])
    owner_id: str | None = Field(
        default=None, description="Id of the key that owns it; `anonymous` if no key was required."
    )
    kind: ArtifactKind
    media_type: str = Field(examples=["audio/mpeg"])
    filename: str | None = Field(default=None, description="The name that it was uploaded with; for display only.")
    url: str = Field(description="Path of the bytes on this server.")
    signed_url: str | None = Field(default=None, description=SIGNED_URL)
    size_bytes: int
    sha256: str = Field(description="SHA-256 of the bytes, in hexadecimal digits.")
    info: MediaInfo
    job_id: str | None = Field(default=None, description="The job that made it; null for an upload.")
    created_at: Timestamp
    last_used_at: Timestamp | None = Field(
        default=None,
        description="When a job that uses it was submitted last, to within a day; null if none was. The server deletes "
        "uploads that were not used for a time, by default for 30 days.",
    )


class ArtifactPage(View):
    """A page of artifacts, newest first."""

    data: list[Artifact]
    has_more: bool
    next_cursor: str | None = Field(default=None, description="Pass it as `cursor` to get the next page.")


class StoredFiles(View):
    """The files of one kind, together."""

    kind: ArtifactKind
    files: int
    size_bytes: int


class StorageUsage(View):
    """What the files of a key take. A file that several jobs share counts once."""

    size_bytes: int
    max_bytes: int | None = Field(
        default=None, description="At this size uploads and new jobs are refused; null if there is no limit."
    )
    kinds: list[StoredFiles] = Field(description="The kinds of which there are files.")


class MediaUrls(View):
    """URLs that load the media of one job without a header, for `<video src>` and other players.

    They work with ranges and HEAD, and are refused once they have expired, or once the key that made them is revoked.
    """

    expires_at: Timestamp
    content: str = Field(description="The result of the job, as soon as it has succeeded.")
    thumbnail: str | None = Field(description="A picture of the result; null for a sound.")
    playlist: str | None = Field(
        description="An HLS playlist that grows while the clips of a reel are rendered; null for other jobs."
    )
    captions: str | None = Field(
        description="The captions of a reel as WebVTT, for `<track src>`; null for other jobs. 404 for a reel without."
    )
    clips: list[str] = Field(description="The clips of a reel by their index, each as soon as it is done.")
