"""Maps a clip to a request to the service: for the nearest video that the model can make and that covers the clip."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image

from phoenix.catalog.model import VEO_APIS, ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.conditions.pictures import open_condition_picture, open_whole_picture
from phoenix.engine.interface import ClipInputs

JPEG_QUALITY = 95


@dataclass(frozen=True)
class VeoRequest:
    """Everything that decides the content of the video, and the interface of the SDK that makes it."""

    api: str
    model: str
    prompt: str
    negative_prompt: str | None
    seed: int
    duration_s: int
    aspect_ratio: str
    resolution: str
    generate_audio: bool | None
    person_generation: str | None
    first_frame: bytes | None = field(default=None, repr=False)
    last_frame: bytes | None = field(default=None, repr=False)
    references: tuple[bytes, ...] = field(default=(), repr=False)
    source_video: bytes | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """Identifies equal requests in all processes. The record of a paid operation has this name."""
        media = (self.first_frame, self.last_frame, self.references, self.source_video)
        return hashlib.sha256(repr((self, media)).encode()).hexdigest()


def request_for(inputs: ClipInputs) -> VeoRequest:
    """Returns the request for a clip. Its pictures are JPEGs, and its source video is an MP4."""
    clip, options, source = inputs.clip, inputs.model.options, inputs.find("source_video")
    first, last = inputs.find("first_frame"), inputs.find("last_frame")
    person = options.get("person_generation")
    return VeoRequest(
        api=str(options.get("api", VEO_APIS[0])),
        model=inputs.model.source or inputs.model.id,
        prompt=clip.prompt,
        negative_prompt=clip.negative_prompt or None,
        seed=clip.seed,
        duration_s=_length_s(inputs.model, clip),
        aspect_ratio="16:9" if clip.width >= clip.height else "9:16",
        resolution=_resolution(inputs.model, clip),
        generate_audio=_wants_audio(inputs.model, clip),
        person_generation=None if person is None else str(person),
        # The service pads a frame of another aspect ratio. A reference shows a subject, of which nothing may be cut.
        first_frame=first and as_jpeg(open_condition_picture(first.path, clip)),
        last_frame=last and as_jpeg(open_condition_picture(last.path, clip)),
        references=tuple(
            as_jpeg(open_whole_picture(each.path, clip)) for each in inputs.conditions if each.role == "reference"
        ),
        source_video=source and as_mp4(source.path, clip),
    )


def _resolution(model: ModelSpec, clip: ResolvedClip) -> str:
    """Returns the lowest resolution of the model that covers the clip; or else its highest."""
    lines = sorted(int(each.removesuffix("p")) for each in model.size.resolutions)
    short_px = min(clip.width, clip.height)
    return f"{next((each for each in lines if each >= short_px), lines[-1])}p"


def _wants_audio(model: ModelSpec, clip: ResolvedClip) -> bool | None:
    """Returns whether to pay for sound; None if the model has no such choice."""
    audio = model.options.get("generate_audio")
    return None if audio is None else bool(audio) and clip.keeps_sound


def _length_s(model: ModelSpec, clip: ResolvedClip) -> int:
    """Returns the shortest length in seconds that covers the clip and that the model makes; or else its longest."""
    lengths_s = sorted(int(text) for text in str(model.options.get("lengths_s", "4 6 8")).split())
    return next((length_s for length_s in lengths_s if length_s >= clip.duration_s - 1e-6), lengths_s[-1])


def as_jpeg(picture: Image.Image) -> bytes:
    """Returns the picture as the bytes of a JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def as_mp4(frames: Path, clip: ResolvedClip) -> bytes:
    """Returns raw rgb24 frames in the size and at the rate of the clip as an MP4. Equal frames give equal bytes."""
    buffer = io.BytesIO()
    # The types of PyAV leave out the types of packets.
    with cast("Any", av).open(buffer, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=clip.fps, options={"crf": "14", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        # With several threads, the bytes would depend on the number of cores.
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace = Colorspace.ITU709
        with frames.open("rb") as file:
            while pixels := file.read(clip.width * clip.height * 3):
                picture = np.frombuffer(pixels, np.uint8).reshape(clip.height, clip.width, 3)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(stream.encode(None))
    return buffer.getvalue()
