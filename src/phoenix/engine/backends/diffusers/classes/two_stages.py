"""Runs a class of LTX-2 in two stages: a clip of half the size, then its latents, enlarged and refined.

The class of an entry with `second_stage` is a subclass of the class that it names, with the upsampler as one more
component: loading, offloading and sharing treat it as they treat every component.
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.folders import unavailable

CLASSES = ("LTX2Pipeline", "LTX2ImageToVideoPipeline", "LTX2ConditionPipeline")
"""The classes that take latents of a picture track and of a sound track, and noise to add to them."""

UPSAMPLER = "latent_upsampler"

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]


def in_two_stages(model: ModelSpec, kind: Any) -> Any:
    """Returns the subclass that makes clips in two stages. Raises `TaskFailed` (MODEL_UNAVAILABLE) if it has none."""
    if kind.__name__ not in CLASSES:
        raise unavailable(model, f"{kind.__name__} has no second stage: leave second_stage out of its entry")
    return _subclass(kind)


def read_upsampler(diffusers: Any, model: ModelSpec, folder: Path, dtype: torch.dtype) -> Any:
    """Returns the upsampler of the entry, from its folder in the folder of the model."""
    assert model.second_stage is not None
    kind: Any = diffusers.pipelines.ltx2.latent_upsampler.LTX2LatentUpsamplerModel
    return kind.from_pretrained(
        folder / model.second_stage.upsampler, dtype=dtype, use_safetensors=True, local_files_only=True
    )


@functools.cache
def _subclass(base: Any) -> Any:
    def make(self: Any, **parts: Any) -> None:
        upsampler = parts.pop(UPSAMPLER)
        base.__init__(self, **parts)
        self.register_modules(**{UPSAMPLER: upsampler})

    @functools.wraps(base.__call__)
    def call(self: Any, **arguments: Any) -> Any:
        return _run(base, self, arguments)

    parameters = inspect.signature(base.__init__).parameters
    added = inspect.Parameter(UPSAMPLER, inspect.Parameter.KEYWORD_ONLY, annotation=torch.nn.Module)
    make.__signature__ = inspect.Signature([*parameters.values(), added])  # pyright: ignore[reportFunctionMemberAccess]
    members = {
        "__init__": make,
        "__call__": call,
        "__module__": base.__module__,
        "model_cpu_offload_seq": base.model_cpu_offload_seq.replace("->vae", f"->{UPSAMPLER}->vae", 1),
        "num_timesteps": property(lambda self: self._steps_of_both),
    }
    return type(base.__name__, (base,), members)


def _run(base: Any, pipeline: Any, arguments: dict[str, Any]) -> Any:
    """Makes one call. `pipeline` is a copy for this call."""
    sigmas, steps = list(pipeline.second_sigmas), arguments["num_inference_steps"]
    pipeline._steps_of_both = steps + len(sigmas)
    report: Callback | None = arguments.get("callback_on_step_end")
    half = {"height": arguments["height"] // 2, "width": arguments["width"] // 2}
    first = {**arguments, **half, "output_type": "latent"}
    second = {**arguments, "num_inference_steps": len(sigmas), "sigmas": sigmas, "noise_scale": sigmas[0]}
    if report is not None:
        first["callback_on_step_end"] = _with_grid(report, arguments["num_frames"], **half)
        second["callback_on_step_end"] = _after(report, steps)
    made = base.__call__(pipeline, **first)
    pipeline.scheduler = pipeline.scheduler.__class__.from_config(pipeline.scheduler.config)
    return base.__call__(pipeline, **second, latents=_enlarge(pipeline, made.frames), audio_latents=made.audio)


def _enlarge(pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
    """Returns the latents at twice the height and the width."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_latent_upsample import LTX2LatentUpsamplePipeline  # noqa: PLC0415

    upsample: Any = LTX2LatentUpsamplePipeline(vae=pipeline.vae, latent_upsampler=pipeline.latent_upsampler)
    return upsample(latents=latents, output_type="latent", return_dict=False)[0]


def _with_grid(report: Callback, num_frames: int, *, height: int, width: int) -> Callback:
    """Reports with latents that have the form of their picture: a preview expects latents of the whole size."""

    def report_first(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        grid = pipeline._unpack_latents(
            tensors["latents"],
            (num_frames - 1) // pipeline.vae_temporal_compression_ratio + 1,
            height // pipeline.vae_spatial_compression_ratio,
            width // pipeline.vae_spatial_compression_ratio,
            pipeline.transformer_spatial_patch_size,
            pipeline.transformer_temporal_patch_size,
        )
        report(pipeline, index, timestep, {**tensors, "latents": grid})
        return tensors

    return report_first


def _after(report: Callback, steps: int) -> Callback:
    """Reports the steps of the second stage after the steps of the first."""

    def report_second(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return report(pipeline, steps + index, timestep, tensors)

    return report_second
