"""Runs one pipeline call for one or more clips: the arguments of the call, the call, and its frames as RGB bytes."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.engine.backends.diffusers.latent_previews import ColourMaps, Previewer
from phoenix.engine.backends.diffusers.step_callbacks import Call, as_current_call, report_steps
from phoenix.engine.first_frame import open_first_frame
from phoenix.engine.interface import ClipInputs, Frame, RenderedClip, RenderRequest, without_traceback
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
        offered["image"] = open_first_frame(inputs.image_path, inputs.clip)
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


def to_rgb24(video: Any, clip: ResolvedClip) -> list[Frame]:
    """Converts a tensor `[frames, 3, height, width]` with values from 0 to 1 to frames in host memory.

    Raises `TaskFailed` if the tensor has another shape, or values that are not numbers: a pipeline may round the
    number of frames, and weights in the wrong precision give NaN, which would be encoded as black.
    """
    requested = (clip.num_frames, 3, clip.height, clip.width)
    if tuple(video.shape) != requested:
        raise _broken(
            f"the pipeline made {_shape(video)} where {_shape(torch.empty(requested, device='meta'))} was asked for"
        )
    return [_to_bytes(frame) for frame in video]


def _to_bytes(frame: torch.Tensor) -> Frame:
    if not bool(frame.isfinite().all()):
        raise _broken("the pipeline made values that are not numbers; try dtype float32 for the model or its VAE")
    pixels = frame.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().cpu().numpy().tobytes()


def _shape(video: torch.Tensor) -> str:
    if video.dim() != 4:
        return f"a tensor of {video.dim()} dimensions"
    frames, _, height, width = video.shape
    return f"{frames} frames of {width}x{height}"


def _broken(reason: str) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, reason, stage=Stage.DECODE)


def run_call(pipeline: Any, call: Call, maps: ColourMaps, *, preview_interval_s: float) -> None:
    """Runs the call. Finishes each of its clips with frames in host memory, or as stopped."""
    clone = clone_for_call(pipeline)
    previewer = Previewer(maps, clone, call, interval_s=preview_interval_s)
    call.enter(Stage.TEXT)
    with as_current_call(call):
        videos = _run(clone, call, previewer)
    call.enter(Stage.DECODE)
    previewer.learn(videos)
    for request, video in zip(call.rows, videos, strict=True):
        _finish(request, video, call)


def _run(pipeline: Any, call: Call, previewer: Previewer) -> Any:
    """Returns the videos: a tensor `[rows, frames, 3, height, width]` on the device."""
    all_inputs = [request.inputs for request in call.rows]
    clip = all_inputs[0].clip
    set_guidance(pipeline, clip.guidance_scale)
    arguments = call_arguments(pipeline, *all_inputs)
    has_callback = "callback_on_step_end" in accepted_names(pipeline)
    arguments |= report_steps(pipeline, call, steps=clip.steps, has_callback=has_callback, show=previewer.show)
    # Always on the CPU, so that a seed gives the same clip on every machine; one generator per clip, so that the other
    # clips of the call do not change it.
    generators = [torch.Generator("cpu").manual_seed(inputs.clip.seed) for inputs in all_inputs]
    with ExitStack() as after:
        # The pipeline skips this when the call is stopped, and the next call would find dirty caches.
        after.callback(pipeline.maybe_free_model_hooks)
        return pipeline(**arguments, generator=generators if len(all_inputs) > 1 else generators[0]).frames


def _finish(request: RenderRequest, video: torch.Tensor, call: Call) -> None:
    if request.is_stopped:
        request.finish_stopped()
        return
    clip = request.clip
    try:
        frames = to_rgb24(video, clip)
    except TaskFailed as failed:
        # Only this clip failed: the other clips of the call may be usable.
        request.finish(without_traceback(failed))
        return
    request.finish(
        RenderedClip(
            frames=iter(frames),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            num_frames=clip.num_frames,
            batch_size=call.batch_size,
            warnings=call.warnings_of(request),
        )
    )


def clone_for_call(pipeline: Any) -> Any:
    """Returns a pipeline object for one call, with the same weights and another scheduler. Takes 0.3 ms.

    `copy.copy`, because `type(p)(**p.components)` drops the configuration (Wan 2.2 would never use its second expert)
    and `from_pipe` casts the shared weights to float32 in place.
    """
    clone = copy.copy(pipeline)
    clone.scheduler = pipeline.scheduler.__class__.from_config(pipeline.scheduler.config)
    if getattr(pipeline, "guider", None) is not None:
        clone.guider = copy.deepcopy(pipeline.guider)
    return clone
