"""The arguments of a pipeline call: the clip's values under the names that the pipeline's signature has."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageOps

from phoenix.catalog.model import ModelSpec
from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.engine.interface import ClipInputs
from phoenix.errors import FailureCode, Stage, TaskFailed

LOADER_OPTIONS = frozenset({"vae_dtype", "vae_tiling", "vae_slicing", "flow_shift"})
"""Options of a catalog entry that apply when the model is loaded, not per call."""

PROMPT_TEMPLATE_OPTIONS = frozenset({"prompt_template", "prompt_crop_start"})
"""HunyuanVideo takes a dictionary of these two, which a catalog entry gives as two options."""

NEEDED = ("prompt", "num_frames", "generator", "output_type")


def accepted_names(pipeline: Any) -> frozenset[str]:
    """Names that the pipeline's `__call__` takes."""
    return frozenset(inspect.signature(pipeline.__class__.__call__).parameters) - {"self"}


def check_fits(model: ModelSpec, pipeline: Any) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if this is no video pipeline, or lacks an option of the entry."""
    names, kind = accepted_names(pipeline), pipeline.__class__.__name__
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise unavailable(model, f"{kind} makes no video from text: it has no {missing[0]!r}")
    if model.takes_image and "image" not in names:
        raise unavailable(model, f"{kind} takes no image, though its catalog entry says so")
    for option in _call_options(model):
        if option not in names:
            raise unavailable(model, f"{kind} has no option {option!r}")


def call_arguments(pipeline: Any, inputs: ClipInputs, *others: ClipInputs) -> dict[str, Any]:
    """All arguments but the generators and the callback: those of the clip, then the entry's options over them.

    What the signature does not know is left out: a pipeline without `guidance_scale` is not asked for one. `others`
    share the call: they agree with the first in all but their prompts and seeds.
    """
    names = accepted_names(pipeline)
    offered = _of_clip(inputs.clip) | _call_options(inputs.model)
    if others:
        offered |= _prompts([inputs.clip, *(other.clip for other in others)])
    if inputs.image_path is not None:
        offered["image"] = _open_image(inputs)
    return {name: value for name, value in offered.items() if name in names}


def set_guidance(pipeline: Any, guidance_scale: float) -> None:
    """HunyuanVideo 1.5 keeps its guidance scale in a component, of which each call has a copy."""
    if getattr(pipeline, "guider", None) is not None:
        pipeline.guider = pipeline.guider.new(guidance_scale=guidance_scale)


def _of_clip(clip: ResolvedClip) -> dict[str, Any]:
    return {
        "prompt": clip.prompt,
        "negative_prompt": clip.negative_prompt or None,
        "width": clip.width,
        "height": clip.height,
        "num_frames": clip.num_frames,
        "num_inference_steps": clip.steps,
        "guidance_scale": clip.guidance_scale,
        # LTX is conditioned on it; for the others only the encoder needs the frame rate.
        "frame_rate": clip.fps,
        "output_type": "pt",
    }


def _prompts(clips: Sequence[ResolvedClip]) -> dict[str, Any]:
    """One row per clip. To the pipelines, no negative prompt is the same as an empty one."""
    has_negative = any(clip.negative_prompt for clip in clips)
    return {
        "prompt": [clip.prompt for clip in clips],
        "negative_prompt": [clip.negative_prompt for clip in clips] if has_negative else None,
    }


def _call_options(model: ModelSpec) -> dict[str, Any]:
    options: Mapping[str, Any] = model.options
    plain: dict[str, Any] = {
        name: value for name, value in options.items() if name not in LOADER_OPTIONS | PROMPT_TEMPLATE_OPTIONS
    }
    if "prompt_template" in options:
        plain["prompt_template"] = {
            "template": options["prompt_template"],
            "crop_start": options.get("prompt_crop_start", 0),
        }
    return plain


def _open_image(inputs: ClipInputs) -> Image.Image:
    assert inputs.image_path is not None
    size_px = (inputs.clip.width, inputs.clip.height)
    try:
        with Image.open(inputs.image_path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        reason = f"the first frame cannot be read: {error}"
        raise TaskFailed(FailureCode.MEDIA_INVALID, reason, stage=Stage.FETCH) from error
    # Cropped around its middle to the clip's aspect ratio: a squeezed picture would make a squeezed film.
    return ImageOps.fit(upright, size_px, Image.Resampling.LANCZOS)
