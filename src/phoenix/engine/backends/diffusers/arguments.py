"""The arguments of a pipeline call: the values of the clip, under the names in the signature of the pipeline."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageOps

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.engine.interface import ClipInputs
from phoenix.errors import FailureCode, Stage, TaskFailed

LOADER_OPTIONS = frozenset({"vae_dtype", "vae_tiling", "vae_slicing", "flow_shift"})
"""Options of a catalog entry that apply to the load of a model, not to each call."""

PROMPT_TEMPLATE_OPTIONS = frozenset({"prompt_template", "prompt_crop_start"})
"""A catalog entry has these as two options; HunyuanVideo takes them as one dictionary."""

REQUIRED = ("prompt", "num_frames", "generator", "output_type")


def accepted_names(pipeline: Any) -> frozenset[str]:
    """Returns the names of the arguments of the pipeline's `__call__`."""
    return frozenset(inspect.signature(pipeline.__class__.__call__).parameters) - {"self"}


def check_fits(model: ModelSpec, pipeline: Any) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the pipeline makes no video, or lacks an option of the entry."""
    names, kind = accepted_names(pipeline), pipeline.__class__.__name__
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise unavailable(model, f"{kind} makes no video from text: it has no {missing[0]!r}")
    if model.takes_image and "image" not in names:
        raise unavailable(model, f"{kind} takes no image, though its catalog entry says so")
    for option in _call_options(model):
        if option not in names:
            raise unavailable(model, f"{kind} has no option {option!r}")


def call_arguments(pipeline: Any, inputs: ClipInputs, *others: ClipInputs) -> dict[str, Any]:
    """Returns all arguments except the generators and the callback. Options of the catalog entry win over the clip.

    Leaves out each argument that the signature lacks, such as `guidance_scale`. The clips in `others` share the call,
    and differ from the first clip only in prompts and seed.
    """
    names = accepted_names(pipeline)
    offered = _clip_arguments(inputs.clip) | _call_options(inputs.model)
    if others:
        offered |= _prompts([inputs.clip, *(other.clip for other in others)])
    if inputs.image_path is not None:
        offered["image"] = _open_image(inputs)
    return {name: value for name, value in offered.items() if name in names}


def set_guidance(pipeline: Any, guidance_scale: float) -> None:
    """Sets the guidance scale of HunyuanVideo 1.5, which is in a component. Each call has a copy of the component."""
    if getattr(pipeline, "guider", None) is not None:
        pipeline.guider = pipeline.guider.new(guidance_scale=guidance_scale)


def _clip_arguments(clip: ResolvedClip) -> dict[str, Any]:
    return {
        "prompt": clip.prompt,
        "negative_prompt": clip.negative_prompt or None,
        "width": clip.width,
        "height": clip.height,
        "num_frames": clip.num_frames,
        "num_inference_steps": clip.steps,
        "guidance_scale": clip.guidance_scale,
        # LTX is conditioned on the frame rate; other models ignore it.
        "frame_rate": clip.fps,
        "output_type": "pt",
    }


def _prompts(clips: Sequence[ResolvedClip]) -> dict[str, Any]:
    """Returns prompts with one row per clip. For the pipelines, an empty negative prompt equals no negative prompt."""
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
    # Cropped around the middle to the aspect ratio of the clip: a squeezed picture would make a squeezed clip.
    return ImageOps.fit(upright, size_px, Image.Resampling.LANCZOS)
