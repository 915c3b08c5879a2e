"""What a client of the frames service gives and gets, and what the service asks an engine for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from phoenix.errors import PhoenixError

SAMPLE_BYTES = 2
"""Sound is signed, of 16 bits, little-endian, of one channel."""


class ImageFormat(StrEnum):
    """How a frame is encoded."""

    JPEG = "jpeg"
    RAW = "raw"
    """Rows from the top, red, green and blue of 8 bits."""


@dataclass(frozen=True)
class VideoInfo:
    """A registered video, or a picture, which is a video of one frame."""

    video_id: str
    width: int
    height: int
    fps: float
    frame_count: int
    frames_with_face: int
    model: str


@dataclass(frozen=True)
class FrameOut:
    """A frame, and the sound that is heard while it is seen. `index` and `pts_s` count from the start of a session."""

    index: int
    pts_s: float
    image: bytes = field(repr=False)
    audio: bytes = field(repr=False)


@dataclass(frozen=True)
class FrameRequest:
    """One frame of one video, with the sound around it, at 16 kHz. The model hears the frame at the sample `at`."""

    video_id: str
    model: str
    frame_index: int
    samples: bytes = field(repr=False)
    at: int
    peak_rms: float
    format: ImageFormat


@dataclass(frozen=True)
class EngineHealth:
    """One engine. `pid` is None while it starts, and for an engine in the process of the service."""

    device: str
    pid: int | None
    is_alive: bool
    restarts: int
    frames: int


@dataclass(frozen=True)
class ServiceHealth:
    """`waiting`: frames that no engine has begun. `rendering`: frames that engines render now."""

    engines: tuple[EngineHealth, ...]
    models: tuple[str, ...]
    videos: int
    sessions: int
    waiting: int
    rendering: int
    is_draining: bool

    @property
    def is_serving(self) -> bool:
        return not self.is_draining and any(engine.is_alive for engine in self.engines)


class EngineLost(PhoenixError):
    """The process of an engine has ended, and what it was asked for was not made."""


class FrameEngine(Protocol):
    """Renders batches, one at a time. One process, or a thread of the service."""

    @property
    def device(self) -> str: ...

    async def render(self, model: str, batch: Sequence[FrameRequest]) -> Sequence[bytes]:
        """Returns an image for each request. Raises `EngineLost`, or `TaskFailed` if the model fails."""
        ...
