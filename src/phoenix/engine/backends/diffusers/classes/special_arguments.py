"""Arguments that some modular classes want in a form of their own: sizes as an area, steps as a list of stages."""

import math
from typing import Any

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names, default_of
from phoenix.engine.backends.diffusers.folders import unavailable
from phoenix.errors import FailureCode, Stage, TaskFailed

STAGES = "pyramid_num_inference_steps_list"
"""The steps of each stage of a class that makes small frames first."""

SEGMENT = "segment_frame_length"


def special_arguments(pipeline: Any, clip: ResolvedClip, given: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments that replace those in `given`. Raises `TaskFailed` for a clip that the class cannot make."""
    kind, made = pipeline.__class__, dict[str, Any]()
    if STAGES in given and isinstance(given[STAGES], int):
        made[STAGES] = stages_of(clip.steps, len(default_of(kind, STAGES)))
    if "driving_video" in accepted_names(kind):
        made |= _size_as_area(pipeline, clip)
        made[SEGMENT] = min(clip.num_frames, given.get(SEGMENT) or default_of(kind, SEGMENT))
    if ends_at_zero(kind) and "sigmas" in given:
        made["sigmas"] = [*given["sigmas"], 0.0]
    return made


def stages_of(steps: int, stages: int) -> list[int]:
    """Splits steps evenly. The first stages, which decide what the picture shows, get the rest."""
    each, rest = divmod(steps, stages)
    return [each + (stage < rest) for stage in range(stages)]


def ends_at_zero(kind: type) -> bool:
    """Returns whether the sigmas of the class have a last one of zero, which is no step."""
    sigmas = default_of(kind, "sigmas")
    return isinstance(sigmas, tuple) and sigmas[-1:] == (0.0,)


def check_steps(model: ModelSpec, pipeline: Any) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the entry allows steps that its pipeline does not make."""
    kind, name = pipeline.__class__, pipeline.__class__.__name__
    if STAGES in accepted_names(kind) and STAGES not in model.options:
        stages = len(default_of(kind, STAGES))
        if model.steps.minimum < stages:
            raise unavailable(model, f"{name} needs a step for each of {stages} stages; set steps.minimum = {stages}")
        return
    steps = _fixed_steps(model, pipeline)
    if steps is not None and {model.steps.minimum, model.steps.maximum} != {steps}:
        raise unavailable(model, f"{name} makes {steps} steps: set minimum, maximum and default of steps to {steps}")
    if (
        pipeline.config.get("is_distilled")
        and "distilled_sigmas" in pipeline.config
        and model.guidance_scale.maximum > 1
    ):
        raise unavailable(model, f"{name} has no guidance: set minimum, maximum and default of guidance_scale to 1")


def _fixed_steps(model: ModelSpec, pipeline: Any) -> int | None:
    kind = pipeline.__class__
    options: Any = model.options
    if STAGES in options:
        return sum(options[STAGES])
    if "distilled_sigmas" in pipeline.config:
        sigmas = pipeline.config.distilled_sigmas
        if not sigmas:
            raise unavailable(model, f"its folder has no distilled_sigmas, which {kind.__name__} needs")
        return len(sigmas)
    if ends_at_zero(kind) and "sigmas" not in options:
        return len(default_of(kind, "sigmas")) - 1
    return None


def _size_as_area(pipeline: Any, clip: ResolvedClip) -> dict[str, int]:
    """Returns a height and a width for which the class makes the size of the clip.

    It takes their product as an area, finds the sides from the proportions of the picture, and rounds down, so that
    the size of the clip itself is sometimes rounded away.
    """
    multiple: int = pipeline.vae_scale_factor_spatial * 2
    proportion, wanted = clip.height / clip.width, (clip.height, clip.width)
    for more in range(multiple):
        for height, width in ((clip.height + more, clip.width), (clip.height, clip.width + more)):
            area = height * width
            sides = (math.sqrt(area * proportion), math.sqrt(area / proportion))
            if tuple(int(side) // multiple * multiple for side in sides) == wanted:
                return {"height": height, "width": width}
    reason = (
        f"{pipeline.__class__.__name__} makes no clips of {clip.width}x{clip.height}: both have to divide by {multiple}"
    )
    raise TaskFailed(FailureCode.ENGINE_FAILED, reason, stage=Stage.TEXT)
