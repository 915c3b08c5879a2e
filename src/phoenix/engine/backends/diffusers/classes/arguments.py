"""The arguments of a pipeline call: those that a class takes, and those that a clip and its catalog entry give."""

from collections.abc import Mapping, Sequence
from typing import Any

from phoenix.catalog.model import OF_A_REQUEST, ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.classes.condition_values import condition_arguments
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names
from phoenix.engine.backends.diffusers.classes.special_arguments import STAGES, special_arguments
from phoenix.engine.interface import ClipInputs

LOADER_OPTIONS = frozenset({"vae_dtype", "vae_tiling", "vae_slicing", "flow_shift"})
"""Options of a catalog entry that apply to the load of a model, not to each call."""

PROMPT_TEMPLATE_OPTIONS = frozenset({"prompt_template", "prompt_crop_start"})
"""A catalog entry has these as two options; HunyuanVideo takes them as one dictionary."""

FRAME_COUNT_NAMES = ("num_frames", "frames", "video_length", "segment_frame_length")
FRAME_RATE_NAMES = ("frame_rate", "fps", "target_fps")
"""What classes call the same thing. Each takes one of these names, or none."""

OF_A_CLIP = OF_A_REQUEST.union(FRAME_COUNT_NAMES, FRAME_RATE_NAMES)
"""The arguments that every clip gives, if the class takes them."""

NEEDS_NEGATIVE_PROMPT = "EasyAnimate"
"""The classes with names that begin so fail without a negative prompt. An empty one will do."""


def call_arguments(pipeline: Any, inputs: ClipInputs, *others: ClipInputs) -> dict[str, Any]:
    """Returns all arguments except the generators and the callback. Options of the catalog entry win over the clip.

    Leaves out each argument that the signature lacks, such as `guidance_scale`. The clips in `others` share the call,
    and differ from the first clip only in prompts and seed.
    """
    names = accepted_names(pipeline.__class__)
    offered = _clip_arguments(inputs.clip) | call_options(inputs.model)
    offered |= _prompts(pipeline.__class__, [inputs.clip, *(other.clip for other in others)])
    offered |= condition_arguments(pipeline, inputs)
    arguments = {name: value for name, value in offered.items() if name in names}
    return arguments | special_arguments(pipeline, inputs.clip, arguments)


def _clip_arguments(clip: ResolvedClip) -> dict[str, Any]:
    return {
        "width": clip.width,
        "height": clip.height,
        "num_inference_steps": clip.steps,
        "guidance_scale": clip.guidance_scale,
        "output_type": "pt",
        **dict.fromkeys(FRAME_COUNT_NAMES, clip.num_frames),
        **dict.fromkeys(FRAME_RATE_NAMES, clip.fps),
        STAGES: clip.steps,
    }


def _prompts(kind: type, clips: Sequence[ResolvedClip]) -> dict[str, Any]:
    """Returns the prompts: one row per clip if several clips share the call.

    Without a negative prompt, the argument is left out: some classes have a default of their own, and refuse None.
    """
    prompts, negatives = [clip.prompt for clip in clips], [clip.negative_prompt for clip in clips]
    has_negative = any(negatives) or kind.__name__.startswith(NEEDS_NEGATIVE_PROMPT)
    if len(clips) == 1:
        return {"prompt": prompts[0]} | ({"negative_prompt": negatives[0]} if has_negative else {})
    return {"prompt": prompts} | ({"negative_prompt": negatives} if has_negative else {})


def call_options(model: ModelSpec) -> dict[str, Any]:
    """Returns the options of the entry that are arguments of each call."""
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
