"""Where the output of a pipeline has its frames and its sound. Decided at load, so that no step is spent in vain."""

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.classes.signatures import is_modular, output_names
from phoenix.engine.backends.diffusers.folders import unavailable

FRAMES = ("frames", "video", "videos")
SOUNDS = ("audio", "sound")

SAMPLE_RATES = (
    ("vocoder", "output_sampling_rate"),
    ("sound_tokenizer", "sampling_rate"),
    ("audio_vae", "sample_rate"),
    ("audio_vae", "sampling_rate"),
)
"""The components that make sound, and the setting of each that has its rate. The first of them in a pipeline counts."""

RAW = frozenset({"LTXI2VLongMultiPromptPipeline"})
"""Classes whose frames come as the VAE made them: channels before frames, with values from -1 to 1."""

LONGER = frozenset({"HunyuanVideoFramepackPipeline"})
"""Classes that make whole windows of frames, and so a few more than were requested."""

AFTER_THE_SOURCE = frozenset({"SkyReelsV2DiffusionForcingVideoToVideoPipeline"})
"""Classes that return the frames of their source video, too, before the frames of the clip."""


@dataclass(frozen=True)
class OutputAdapter:
    """Reads the output of one pipeline. `sound` and `sound_rate_hz` are None if it makes no sound."""

    frames: str
    is_raw: bool = False
    is_longer: bool = False
    is_after_source: bool = False
    sound: str | None = None
    sound_rate_hz: int | None = None

    def videos(self, output: Any, num_frames: int) -> Any:
        """Returns the videos of a call: a tensor `[rows, frames, 3, height, width]` with values from 0 to 1."""
        found = getattr(output, self.frames)
        if found.dim() == 4:  # Cosmos 3 makes one clip per call.
            found = found.unsqueeze(0)
        if self.is_raw:
            found = found.transpose(1, 2).add(1).div(2)
        if self.is_after_source:
            return found[:, -num_frames:]
        return found[:, :num_frames] if self.is_longer else found

    def sounds(self, output: Any) -> torch.Tensor | None:
        """Returns the sounds of a call: a tensor `[rows, channels, samples]` with values from -1 to 1; None if none."""
        found = None if self.sound is None else getattr(output, self.sound)
        if found is None:
            return None
        # Cosmos 3 has no rows, and Kandinsky 6 has one channel without a dimension for it.
        return found.unsqueeze({"sound": 0, "audio": 1}[self.sound or ""]) if found.dim() == 2 else found


def find_output(model: ModelSpec, pipeline: Any) -> OutputAdapter:
    """Returns the adapter of a loaded pipeline.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) if it returns no frames, or no sound for an entry with `makes_sound`.
    """
    kind = pipeline.__class__
    fields = output_fields(model, kind)
    frames = next(name for name in FRAMES if name in fields)
    sound = next((name for name in SOUNDS if name in fields), None)
    rate_hz = None if sound is None else _sound_rate(model, pipeline)
    if model.makes_sound and rate_hz is None:
        raise unavailable(model, f"its entry has makes_sound, and {kind.__name__} makes none; leave makes_sound out")
    return OutputAdapter(
        frames,
        is_raw=kind.__name__ in RAW,
        is_longer=kind.__name__ in LONGER,
        is_after_source=kind.__name__ in AFTER_THE_SOURCE,
        sound=sound if rate_hz else None,
        sound_rate_hz=rate_hz,
    )


def output_fields(model: ModelSpec, kind: type) -> frozenset[str]:
    """Returns the names of what the class returns. Raises `TaskFailed` if no frames are among them."""
    found = [output_names(kind)] if is_modular(kind) else list(_outputs_beside(kind))
    for fields in found:
        if not fields.isdisjoint(FRAMES):
            return fields
    known = ", ".join(FRAMES)
    returned = ", ".join(sorted(set[str]().union(*found))) or "nothing that has names"
    raise unavailable(model, f"{kind.__name__} returns {returned}, and no frames under a known name ({known})")


def _outputs_beside(kind: type) -> Iterator[frozenset[str]]:
    """Yields the fields of each output in the module of the class: diffusers has the output of a pipeline there."""
    for name, found in vars(sys.modules[kind.__module__]).items():
        if name.endswith("Output") and isinstance(found, type) and dataclasses.is_dataclass(found):
            yield frozenset(field.name for field in dataclasses.fields(found))


def _sound_rate(model: ModelSpec, pipeline: Any) -> int | None:
    """Returns samples a second; None for a pipeline without the parts that make sound."""
    parts = [(getattr(pipeline, name, None), setting) for name, setting in SAMPLE_RATES]
    present = [(part, setting) for part, setting in parts if part is not None]
    for part, setting in present:
        rate_hz = getattr(part.config, setting, None)
        if isinstance(rate_hz, int):
            return rate_hz
    if present:
        raise unavailable(model, f"{pipeline.__class__.__name__} makes sound, and none of its parts has the rate")
    return None
