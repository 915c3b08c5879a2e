"""Maps a clip to a Veo request: for the nearest video that Veo can make and that covers the clip."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.first_frame import open_first_frame
from phoenix.engine.interface import ClipInputs

JPEG_QUALITY = 95


@dataclass(frozen=True)
class VeoRequest:
    """Everything that decides the content of the video."""

    model: str
    prompt: str
    negative_prompt: str | None
    seed: int
    duration_s: int
    aspect_ratio: str
    resolution: str
    generate_audio: bool | None
    person_generation: str | None
    jpeg: bytes | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """Identifies equal requests in all processes. The record of a paid operation has this name."""
        return hashlib.sha256(repr((self, self.jpeg)).encode()).hexdigest()


def request_for(inputs: ClipInputs) -> VeoRequest:
    """Returns the request for a clip."""
    clip, options = inputs.clip, inputs.model.options
    audio, person = options.get("generate_audio"), options.get("person_generation")
    return VeoRequest(
        model=inputs.model.source or inputs.model.id,
        prompt=clip.prompt,
        negative_prompt=clip.negative_prompt or None,
        seed=clip.seed,
        duration_s=_length_s(inputs.model, clip),
        aspect_ratio="16:9" if clip.width >= clip.height else "9:16",
        resolution="720p" if min(clip.width, clip.height) <= 720 else "1080p",
        generate_audio=None if audio is None else bool(audio),
        person_generation=None if person is None else str(person),
        jpeg=None if inputs.image_path is None else _as_jpeg(inputs.image_path, clip),
    )


def _length_s(model: ModelSpec, clip: ResolvedClip) -> int:
    """Returns the shortest length in seconds that covers the clip and that the model makes; or else its longest."""
    lengths_s = sorted(int(text) for text in str(model.options.get("lengths_s", "4 6 8")).split())
    return next((length_s for length_s in lengths_s if length_s >= clip.duration_s - 1e-6), lengths_s[-1])


def _as_jpeg(path: Path, clip: ResolvedClip) -> bytes:
    """Returns the picture as a JPEG, cropped to the aspect ratio of the clip, so that the service does not pad it."""
    buffer = io.BytesIO()
    open_first_frame(path, clip).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
