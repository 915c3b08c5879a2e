"""Stored files as their owner sees them."""

from enum import StrEnum

from pydantic import Field

from phoenix.contract.base import Timestamp, View


class ArtifactKind(StrEnum):
    UPLOAD = "upload"
    CLIP = "clip"
    OUTPUT = "output"
    SOUNDTRACK = "soundtrack"
    THUMBNAIL = "thumbnail"


class MediaInfo(View):
    """What probing found. Lengths in seconds, sizes in pixels."""

    media: str = Field(description="`audio`, `image` or `video`.", examples=["audio"])
    format: str = Field(examples=["mp3"])
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    num_frames: int | None = None
    video_codec: str | None = None
    pixel_format: str | None = None
    audio_codec: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None


class Artifact(View):
    id: str = Field(examples=["art_01kag3e9zq4f7w5m8x2c6b0n1d"])
    kind: ArtifactKind
    media_type: str = Field(examples=["audio/mpeg"])
    filename: str | None = Field(default=None, description="As uploaded; for display only.")
    url: str
    size_bytes: int
    sha256: str
    info: MediaInfo
    job_id: str | None = None
    created_at: Timestamp
