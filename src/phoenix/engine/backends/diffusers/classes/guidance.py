"""Guidance of a modular pipeline, which is in components of its own. Each call has copies of them."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.classes.signatures import default_blocks, is_modular
from phoenix.engine.backends.diffusers.folders import unavailable

GUIDERS = ("guider", "guider_2", "audio_guider")

OF_BASE = frozenset({"self", "start", "stop", "enabled"})


def guider_options(kind: type) -> frozenset[str]:
    """Returns the options of a catalog entry that reach the guiders of a modular class.

    They have the names that the plain classes use: `guidance_scale_2` is of `guider_2`, the guider of the second
    expert, and `audio_guidance_scale` of `audio_guider`.
    """
    return frozenset(_options(kind)) if is_modular(kind) else frozenset()


def set_guidance(pipeline: Any, guidance_scale: float, options: Mapping[str, Any]) -> None:
    """Sets the guidance of the copies that a call has of the guiders. Sound keeps a scale of its own."""
    given: dict[str, dict[str, Any]] = {"guider": {"guidance_scale": guidance_scale}}
    given["guider_2"] = {"guidance_scale": guidance_scale}
    for option, (guider, setting) in _options(pipeline.__class__).items():
        if option in options:
            given.setdefault(guider, {})[setting] = options[option]
    for name, settings in given.items():
        guider: Any = getattr(pipeline, name, None)
        if guider is not None:
            setattr(pipeline, name, guider.new(**settings))


def check_guiders(model: ModelSpec, pipeline: Any) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) for a guider that hooks the denoiser, which concurrent calls share."""
    for name in GUIDERS:
        guider: Any = getattr(pipeline, name, None)
        if guider is None:
            continue
        kinds: tuple[Any, ...] = guider.__class__.__mro__
        base = next(kind for kind in kinds if kind.__name__ == "BaseGuidance")
        if kinds[0].prepare_models is not base.prepare_models:
            raise unavailable(model, f"its {name} is a {kinds[0].__name__}, which hooks the shared denoiser")


@functools.cache
def _options(kind: type) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    if not is_modular(kind):
        return found
    for spec in default_blocks(kind).expected_components:
        if spec.name in GUIDERS and spec.type_hint is not None:
            for setting in frozenset(inspect.signature(spec.type_hint.__init__).parameters) - OF_BASE:
                option = {"guider_2": f"{setting}_2", "audio_guider": f"audio_{setting}"}.get(spec.name, setting)
                found[option] = (spec.name, setting)
    return {option: place for option, place in found.items() if option != "guidance_scale"}
