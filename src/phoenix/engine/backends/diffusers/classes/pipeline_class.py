"""Finds the class that runs a model, and refuses a class that cannot make the clips of its catalog entry.

The class decides it alone: nothing of the weights is read before.
"""

import inspect
from pathlib import Path
from typing import Any

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.classes.arguments import (
    FRAME_COUNT_NAMES,
    OF_A_CLIP,
    call_options,
)
from phoenix.engine.backends.diffusers.classes.guidance import guider_options
from phoenix.engine.backends.diffusers.classes.outputs import output_fields
from phoenix.engine.backends.diffusers.classes.roles import (
    check_roles,
    given_by_roles,
    overridden_options,
    roles_for,
    sets_length,
)
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names, is_modular, required_names
from phoenix.engine.backends.diffusers.classes.two_stages import in_two_stages
from phoenix.engine.backends.diffusers.folders import read_index, unavailable

FROM_TEXT = ("prompt", "generator", "output_type")
"""The arguments of every class that makes a video from text."""

UNSTATED = {
    "AnimateDiffVideoToVideoControlNetPipeline": ("video", "conditioning_frames"),
    "AnimateDiffVideoToVideoPipeline": ("video",),
    "AnimateDiffControlNetPipeline": ("conditioning_frames",),
    "AnimateDiffSparseControlNetPipeline": ("conditioning_frames",),
    "CogVideoXFunControlPipeline": ("control_video",),
    "CogVideoXVideoToVideoPipeline": ("video",),
    "EasyAnimateControlPipeline": ("control_video",),
    "EasyAnimateInpaintPipeline": ("video", "mask_video"),
    "LTX2DFRTemporalRefinePipeline": ("latents",),
    "LTX2HDRPipeline": ("reference_conditions",),
    "SanaWMPipeline": ("intrinsics",),
    "VideoToVideoSDPipeline": ("video",),
    "WanImage2VideoModularPipeline": ("image",),
    "WanVideoToVideoPipeline": ("video",),
}
"""Arguments that a call needs although they have a default."""

BROKEN = {"EasyAnimateControlPipeline": ("encode_prompt", "text_encoder_index")}
"""Classes that call a method of their own with an argument that the method lacks, and so fail in every call."""

NEEDED_SETTINGS = {"EasyAnimateInpaintPipeline": ("vae", "cache_mag_vae")}
"""Settings of a component that a class reads although the component does not define them: the folder has to."""

UNSEEDED = {"addnoise_condition": "it adds noise that no seed decides, so that a clip could not be made again"}
"""Options of which only 0 is taken, and why."""


def get_pipeline_class(diffusers: Any, model: ModelSpec, folder: Path) -> type:
    """Returns the class that the entry names, or else the class that the folder names.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) if diffusers has no such class, or if Phoenix cannot run it.
    """
    name = model.pipeline or read_index(model, folder).get("_class_name")
    if not isinstance(name, str):
        raise unavailable(model, f"its folder asks for code of its own ({name}), which is not run")
    kind: Any = getattr(diffusers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, (diffusers.DiffusionPipeline, diffusers.ModularPipeline)):
        raise unavailable(model, f"diffusers has no pipeline {name!r}")
    if is_modular(kind) and getattr(kind, "default_blocks_name", None) is None:
        raise unavailable(model, f"{name} has no blocks of its own; name a class that has some")
    return kind if model.second_stage is None else in_two_stages(model, kind)


def check_fits(model: ModelSpec, kind: type) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the class makes no clip from what a request and the entry give."""
    names = accepted_names(kind)
    _check_works(model, kind)
    if "prompt" in names:
        _check_needs(model, kind)
    missing = [name for name in FROM_TEXT if name not in names]
    if names.isdisjoint(FRAME_COUNT_NAMES) and not sets_length(model, kind):
        missing.append(FRAME_COUNT_NAMES[0])
    if missing:
        raise unavailable(model, f"{kind.__name__} makes no video from text: it has no {missing[0]!r}")
    output_fields(model, kind)
    check_roles(model, kind)
    _check_options(model, kind)


def check_parts(model: ModelSpec, pipeline: Any) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the loaded parts lack what a call of their class reads."""
    kind = type(pipeline).__name__
    part, setting = NEEDED_SETTINGS.get(kind, ("", ""))
    if part and setting not in getattr(pipeline, part).config:
        raise unavailable(model, f"{kind} needs {setting!r}: set it to true in {part}/config.json of its folder")


def _check_works(model: ModelSpec, kind: Any) -> None:
    method, argument = BROKEN.get(kind.__name__, ("", ""))
    if method and argument not in inspect.signature(getattr(kind, method)).parameters:
        raise unavailable(
            model, f"{kind.__name__} fails in each call in this version of diffusers: its {method} has no {argument!r}"
        )


def _check_options(model: ModelSpec, kind: type) -> None:
    """Checks that each option acts, and that it leaves a clip repeatable."""
    names, overridden = accepted_names(kind) | guider_options(kind), overridden_options(model, kind)
    for option, value in call_options(model).items():
        if option not in names:
            raise unavailable(model, f"{kind.__name__} has no option {option!r}")
        if option in overridden:
            raise unavailable(model, f"options.{option} has no effect: the condition {overridden[option]} decides it")
        if option in UNSEEDED and value:
            raise unavailable(model, f"options.{option} is refused: {UNSEEDED[option]}")


def _check_needs(model: ModelSpec, kind: type) -> None:
    """Checks that a request, or the entry, can give every argument that the class needs."""
    needs = required_names(kind)
    given = {*OF_A_CLIP, *call_options(model), *given_by_roles(model, kind)}
    for name in [*needs, *UNSTATED.get(kind.__name__, ())]:
        if name in given:
            continue
        if not (roles := roles_for(kind, name)):
            raise unavailable(model, f"{kind.__name__} needs {name!r}, which a request cannot give")
        fields = " or ".join(f"conditions.{role}.minimum = 1" for role in roles)
        raise unavailable(model, f"{kind.__name__} needs {name!r}: set {fields} in its catalog entry")
