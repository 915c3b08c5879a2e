"""The messages of a session over WebSocket: control in JSON, sound and frames in binary.

All numbers of binary messages are little-endian. A message of sound is its sequence number (u32) and the samples. A
frame is the header below, its sound and its image: the sound is first, so that a browser can look at it as samples.
"""

import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from phoenix.frames.front.faults import Fault, FrameError
from phoenix.frames.interface import FrameOut, ImageFormat, VideoInfo

SUBPROTOCOL = "phoenix.frames.v1"

SoundRate = Annotated[int, Field(ge=8000, le=192_000)]


class JsonMessage(BaseModel):
    """A message in JSON, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenSession(JsonMessage):
    """The first message of a client."""

    type: Literal["open"] = "open"
    video_id: Annotated[str, Field(min_length=1, max_length=100)]
    sample_rate: SoundRate = 16_000
    format: ImageFormat = ImageFormat.JPEG
    max_buffered_s: Annotated[float, Field(gt=0)] = 1.0


class ClearSound(JsonMessage):
    """Interrupts: sound that is not rendered yet is dropped."""

    type: Literal["clear"] = "clear"


class EndSound(JsonMessage):
    """The last sound was sent."""

    type: Literal["end"] = "end"


class SessionVideo(JsonMessage):
    """The registered video of a session."""

    video_id: str
    width: int
    height: int
    fps: float
    frame_count: int
    frames_with_face: int
    model: str

    @classmethod
    def of(cls, video: VideoInfo) -> "SessionVideo":
        return cls(
            video_id=video.video_id,
            width=video.width,
            height=video.height,
            fps=video.fps,
            frame_count=video.frame_count,
            frames_with_face=video.frames_with_face,
            model=video.model,
        )


class SessionOpened(JsonMessage):
    """The answer to `open`. Sound may follow."""

    type: Literal["opened"] = "opened"
    session_id: str
    video: SessionVideo


class SoundCleared(JsonMessage):
    """The answer to `clear`. Frames from `next_index` on are of sound that came after it."""

    type: Literal["cleared"] = "cleared"
    next_index: int


class SessionDraining(JsonMessage):
    """The server stops. No more sound is read after `ends_in_s` seconds."""

    type: Literal["draining"] = "draining"
    ends_in_s: float


class SessionEnded(JsonMessage):
    """The last message of the server: every frame was sent."""

    type: Literal["ended"] = "ended"
    frames: int


class SessionFailed(JsonMessage):
    """The last message of the server, before it closes with the code of the fault."""

    type: Literal["error"] = "error"
    fault: Fault
    detail: str


SessionNews = SessionOpened | SoundCleared | SessionDraining | SessionEnded | SessionFailed
"""What a server sends as JSON."""


@dataclass(frozen=True)
class SoundChunk:
    """Samples of a client: one channel, signed, 16 bits."""

    sequence: int
    pcm: bytes


class Control(Enum):
    """What else a client sends in an open session."""

    CLEAR = auto()
    END = auto()


ClientMessage = SoundChunk | Control

_OPENING: TypeAdapter[OpenSession] = TypeAdapter(OpenSession)
_CONTROL: TypeAdapter[ClearSound | EndSound] = TypeAdapter(
    Annotated[ClearSound | EndSound, Field(discriminator="type")]
)
_SEQUENCE = struct.Struct("<I")
_FRAME_KIND = 1
_FORMATS = {ImageFormat.JPEG: 1, ImageFormat.RAW: 2}
_HEADER = struct.Struct("<BBHIdIIII")
FRAME_HEADER_BYTES = _HEADER.size


def read_opening(text: str) -> OpenSession:
    """Raises `FrameError` with the field that is wrong."""
    try:
        return _OPENING.validate_json(text)
    except ValidationError as error:
        raise _malformed("the first message opens the session", error) from error


def check_opening(**fields: object) -> OpenSession:
    """Like `read_opening`, for a message in another protocol."""
    try:
        return OpenSession.model_validate(fields)
    except ValidationError as error:
        raise _malformed("the first message opens the session", error) from error


def read_control(text: str) -> Control:
    """Raises `FrameError` with the field that is wrong."""
    try:
        message = _CONTROL.validate_json(text)
    except ValidationError as error:
        raise _malformed("an open session takes `clear`, `end` and sound", error) from error
    return Control.CLEAR if isinstance(message, ClearSound) else Control.END


def read_sound(data: bytes) -> SoundChunk:
    """A binary message of a client. Raises `FrameError`."""
    if len(data) < _SEQUENCE.size + 2:
        raise FrameError(
            Fault.MALFORMED_MESSAGE,
            "A binary message is a sequence number of four bytes and at least one sample of two bytes.",
        )
    return SoundChunk(_SEQUENCE.unpack_from(data)[0], check_samples(data[_SEQUENCE.size :]))


def check_samples(pcm: bytes) -> bytes:
    """Raises `FrameError` for half a sample."""
    if not pcm or len(pcm) % 2:
        raise FrameError(Fault.MALFORMED_MESSAGE, f"Sound is whole samples of two bytes, and not {len(pcm)} bytes.")
    return pcm


def write_sound(sequence: int, pcm: bytes) -> bytes:
    """A binary message of a client; for clients and tests."""
    return _SEQUENCE.pack(sequence) + pcm


def write_frame(frame: FrameOut, sequence: int, image_format: ImageFormat) -> bytes:
    """A binary message of the server."""
    header = _HEADER.pack(
        _FRAME_KIND,
        _FORMATS[image_format],
        0,
        sequence,
        frame.pts_s,
        frame.index,
        len(frame.audio),
        len(frame.image),
        0,
    )
    return b"".join((header, frame.audio, frame.image))


def read_frame(data: bytes) -> tuple[int, FrameOut]:
    """The sequence number and the frame of a binary message of the server; for clients and tests."""
    _, _, _, sequence, pts_s, index, audio_bytes, image_bytes, _ = _HEADER.unpack_from(data)
    image_at = FRAME_HEADER_BYTES + audio_bytes
    image = data[image_at : image_at + image_bytes]
    return sequence, FrameOut(index, pts_s, image, data[FRAME_HEADER_BYTES:image_at])


def _malformed(rule: str, error: ValidationError) -> FrameError:
    first = error.errors(include_url=False, include_input=False)[0]
    place = "/" + "/".join(str(part) for part in first["loc"])
    return FrameError(Fault.MALFORMED_MESSAGE, f"{place}: {first['msg']}; {rule}.")
