"""What a service and its engine processes write to each other: a header in JSON, then the bytes of sounds or images."""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.frames.interface import FrameRequest, ImageFormat

SIZES = struct.Struct("<II")
"""Before each message: the bytes of its header, and of what follows it."""


@dataclass(frozen=True)
class EngineMessage:
    """A message that was read."""

    header: dict[str, Any]
    payload: bytes = field(default=b"", repr=False)


def encode(header: dict[str, Any], parts: Sequence[bytes] = ()) -> bytes:
    """Returns the bytes of a message."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((SIZES.pack(len(text), sum(map(len, parts))), text, *parts))


def encode_batch(model: str, batch: Sequence[FrameRequest]) -> bytes:
    """Returns the message that asks for a batch."""
    frames = [
        (each.video_id, each.frame_index, each.at, each.peak_rms, each.format.value, len(each.samples))
        for each in batch
    ]
    return encode({"batch": model, "frames": frames}, [each.samples for each in batch])


def decode_batch(message: EngineMessage) -> Sequence[FrameRequest]:
    frames: list[Any] = message.header["frames"]
    sounds = split(message.payload, [frame[-1] for frame in frames])
    return [
        FrameRequest(video_id, message.header["batch"], index, sound, at, peak_rms, ImageFormat(image_format))
        for (video_id, index, at, peak_rms, image_format, _), sound in zip(frames, sounds, strict=True)
    ]


def split(payload: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Returns the parts of a payload."""
    start = 0
    for size in sizes:
        yield payload[start : start + size]
        start += size


def encode_failure(failure: TaskFailed) -> bytes:
    facts = [failure.code.value, failure.detail, failure.stage.value, failure.retriable]
    return encode({"failure": facts})


def raise_failure(message: EngineMessage) -> None:
    """Raises the `TaskFailed` that the message carries, if it carries one."""
    facts = message.header.get("failure")
    if facts is not None:
        code, detail, stage, retriable = facts
        raise TaskFailed(FailureCode(code), detail, stage=Stage(stage), retriable=retriable)


def decode(body: bytes, header_bytes: int) -> EngineMessage:
    """Returns the message of what follows the sizes."""
    return EngineMessage(json.loads(body[:header_bytes]), body[header_bytes:])
