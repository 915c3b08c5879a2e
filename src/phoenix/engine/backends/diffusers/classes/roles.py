"""Which argument of a pipeline class each role of a condition goes to, as data. `condition_values` makes the values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ConditionRole
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names
from phoenix.engine.backends.diffusers.folders import unavailable


class Form(Enum):
    """What a class takes for a role."""

    FITTED = auto()
    """One picture, cropped to the size of the clip."""
    WHOLE = auto()
    """One picture as it is: the class fits it in, and keeps all of it."""
    WHOLE_LIST = auto()
    FRAMES = auto()
    """A list of pictures in the size of the clip, one for each of its frames."""
    MASKS = auto()
    """The same in grey: the class makes new what is white."""
    PIXEL_GUIDE = auto()
    """An object with a picture or a video, its strength, and its place in frames of the clip."""
    LATENT_GUIDE = auto()
    """The same with its place in latent frames."""
    PLACED = auto()
    """A list of pictures in the size of the clip. Another argument has their places in frames of the clip."""
    BEGINNING = auto()
    """A list of pictures in the size of the clip: the last frames of a video, with which the clip begins."""
    IN_CONTEXT = auto()
    """A list of one object with a frame for each frame of the clip, and its strength."""
    TENSOR = auto()
    """A tensor `[1, 3, frames, height, width]` with values from 0 to 1, and all frames of the clip."""
    MASK_TENSOR = auto()
    """A tensor `[1, 1, frames, height, width]`: 255 where the class makes something new, and 0 elsewhere."""
    STILL_TENSOR = auto()
    """One picture as a `TENSOR` of one frame."""


GUIDES = frozenset({Form.PIXEL_GUIDE, Form.LATENT_GUIDE})
LISTS = GUIDES | {Form.WHOLE_LIST, Form.PLACED}
"""Forms of which a call takes several."""
WHOLE_VIDEOS = frozenset({Form.FRAMES, Form.MASKS, Form.IN_CONTEXT, Form.TENSOR, Form.MASK_TENSOR})
"""Forms that need a frame for each frame of the clip."""
CONTINUED = GUIDES | {Form.BEGINNING}
"""Forms in which a clip can begin with a part of a video."""


@dataclass(frozen=True)
class Use:
    """How a class uses a role. `strength` is the argument of its strength; some forms have it in their object.

    `also` are further arguments of a call with this role, `needs` are roles that have to come with it, and `places`
    is the argument with the places of `PLACED` pictures.
    """

    argument: str
    form: Form
    strength: str | None = None
    also: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    needs: tuple[ConditionRole, ...] = ()
    places: str = ""


Uses = Mapping[ConditionRole, Use]

_CONTROL = Use("control_video", Form.FRAMES)
BY_SIGNATURE: Uses = {
    "first_frame": Use("image", Form.FITTED),
    "last_frame": Use("last_image", Form.FITTED),
    "reference": Use("reference_images", Form.WHOLE_LIST),
    "source_video": Use("video", Form.FRAMES, strength="strength"),
    "control_pose": _CONTROL,
    "control_depth": _CONTROL,
    "control_edge": _CONTROL,
}
"""For the classes that are not in `BY_CLASS`, as far as their signature has the argument."""

_VACE_CONTROL = Use("video", Form.FRAMES, strength="conditioning_scale")
_LTX = Use("conditions", Form.PIXEL_GUIDE)
_LTX2 = Use("conditions", Form.LATENT_GUIDE)
_LTX2_ROLES: Uses = {"first_frame": _LTX2, "last_frame": _LTX2, "keyframe": _LTX2, "source_video": _LTX2}
_CONTROLS: tuple[ConditionRole, ...] = ("control_pose", "control_depth", "control_edge")


def _for_controls(argument: str, form: Form, strength: str | None = None) -> Uses:
    return dict.fromkeys(_CONTROLS, Use(argument, form, strength=strength))


_CONTROLNET = _for_controls("conditioning_frames", Form.FRAMES, strength="controlnet_conditioning_scale")
_SPARSE = Use("conditioning_frames", Form.PLACED, places="controlnet_frame_indices")

_VACE_ROLES: Uses = {
    "source_video": _VACE_CONTROL,
    "control_pose": _VACE_CONTROL,
    "control_depth": _VACE_CONTROL,
    "control_edge": _VACE_CONTROL,
    "mask": Use("mask", Form.MASKS, needs=("source_video",)),
    "reference": Use("reference_images", Form.WHOLE_LIST),
}
_ANIMATE_2_ROLES: Uses = {
    # Its clip has the proportions of the picture.
    "reference": Use("image", Form.FITTED),
    "control_pose": Use("driving_video", Form.FRAMES),
}

BY_CLASS: Mapping[str, Uses] = {
    "WanVACEPipeline": _VACE_ROLES,
    "Wan22VaceModularPipeline": _VACE_ROLES,
    "WanAnimate2ModularPipeline": _ANIMATE_2_ROLES,
    "WanAnimate2DistilledModularPipeline": _ANIMATE_2_ROLES,
    "WanAnimatePipeline": {
        "reference": Use("image", Form.WHOLE),
        "control_pose": Use("pose_video", Form.FRAMES),
        "control_face": Use("face_video", Form.FRAMES),
        "source_video": Use("background_video", Form.FRAMES, also={"mode": "replace"}, needs=("mask",)),
        "mask": Use("mask_video", Form.MASKS, needs=("source_video",)),
    },
    "LTXConditionPipeline": {"first_frame": _LTX, "last_frame": _LTX, "keyframe": _LTX, "source_video": _LTX},
    "LTX2ConditionPipeline": _LTX2_ROLES,
    "LTX2InContextPipeline": {**_LTX2_ROLES, **_for_controls("reference_conditions", Form.IN_CONTEXT)},
    "AnimateDiffControlNetPipeline": _CONTROLNET,
    "AnimateDiffVideoToVideoControlNetPipeline": {
        **_CONTROLNET,
        "source_video": Use("video", Form.FRAMES, strength="strength"),
    },
    "AnimateDiffSparseControlNetPipeline": {"first_frame": _SPARSE, "keyframe": _SPARSE, "last_frame": _SPARSE},
    "EasyAnimateControlPipeline": {
        **_for_controls("control_video", Form.TENSOR),
        "reference": Use("ref_image", Form.STILL_TENSOR),
    },
    "EasyAnimateInpaintPipeline": {
        "source_video": Use("video", Form.TENSOR, strength="strength", needs=("mask",)),
        "mask": Use("mask_video", Form.MASK_TENSOR, needs=("source_video",)),
    },
    "LTX2ModularPipeline": _LTX2_ROLES,
    "LTX25ModularPipeline": _LTX2_ROLES,
    # Its call has no text: it only makes a video larger.
    "Kandinsky6SRPipeline": {},
    "SkyReelsV2DiffusionForcingVideoToVideoPipeline": {
        "source_video": Use("video", Form.BEGINNING, also={"overlap_history": None})
    },
}


def uses_of(kind: type) -> Uses:
    """Returns how the class uses each role that it takes."""
    if kind.__name__ in BY_CLASS:
        return BY_CLASS[kind.__name__]
    names = accepted_names(kind)
    return {role: use for role, use in BY_SIGNATURE.items() if use.argument in names}


def check_roles(model: ModelSpec, kind: type) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if the class cannot do with the roles what the entry promises."""
    uses, name = uses_of(kind), kind.__name__
    for role, rule in model.conditions.items():
        use = uses.get(role)
        if use is None:
            taken = f"it takes {', '.join(uses)}" if uses else "it takes none"
            raise unavailable(model, f"{name} takes no {role}, though its catalog entry says so; {taken}")
        if rule.maximum > 1 and use.form not in LISTS:
            raise unavailable(model, f"{name} takes one {role}: set conditions.{role}.maximum = 1")
        if rule.strength is not None and not _has_strength(kind, use):
            raise unavailable(model, f"{name} has no strength for {role}: leave conditions.{role}.strength out")
        _check_overlap(model, name, role, use)
        for other in use.needs:
            if other not in rule.requires:
                raise unavailable(
                    model, f"{name} uses {role} only with {other}: set conditions.{role}.requires = [{other!r}]"
                )
        _check_shared_argument(model, name, role, uses)


def _check_overlap(model: ModelSpec, name: str, role: ConditionRole, use: Use) -> None:
    """The class either takes a whole video, or begins with a part of it."""
    overlap_s = model.conditions[role].overlap_s
    if overlap_s is None and use.form is Form.BEGINNING:
        raise unavailable(model, f"{name} continues the {role}: set conditions.{role}.overlap_s, such as 0.75")
    if overlap_s is not None and use.form not in CONTINUED:
        raise unavailable(model, f"{name} cannot continue the {role}: leave conditions.{role}.overlap_s out")


def _has_strength(kind: type, use: Use) -> bool:
    return use.form in (*GUIDES, Form.IN_CONTEXT) or use.strength in accepted_names(kind)


def _check_shared_argument(model: ModelSpec, name: str, role: ConditionRole, uses: Uses) -> None:
    """Two roles of one argument, of which a call takes one value, must exclude each other."""
    for other in model.conditions:
        is_shared = other != role and other in uses and uses[other].argument == uses[role].argument
        if is_shared and uses[role].form not in LISTS and other not in model.conditions[role].excludes:
            raise unavailable(
                model, f"{name} takes {role} or {other}: set conditions.{role}.excludes = [{other!r}] and the reverse"
            )


def given_by_roles(model: ModelSpec, kind: type) -> frozenset[str]:
    """Returns the arguments that every clip gives by the roles that the entry needs."""
    uses = uses_of(kind)
    return frozenset(uses[role].argument for role in model.needed_roles if role in uses)


def sets_length(model: ModelSpec, kind: type) -> bool:
    """Returns whether every clip brings a video that decides the number of frames."""
    uses = uses_of(kind)
    return any(uses[role].form in WHOLE_VIDEOS for role in model.needed_roles if role in uses)


def overridden_options(model: ModelSpec, kind: type) -> dict[str, ConditionRole]:
    """Returns the arguments that a condition decides, with its role: as options, they would be without effect."""
    uses, found = uses_of(kind), dict[str, ConditionRole]()
    for role, rule in model.conditions.items():
        if (use := uses.get(role)) is not None:
            strength = [use.strength] if use.strength and rule.strength else []
            found |= dict.fromkeys(filter(None, [use.argument, use.places, *use.also, *strength]), role)
    return found


def roles_for(kind: type, argument: str) -> list[ConditionRole]:
    """Returns the roles that give an argument of the class."""
    return [role for role, use in uses_of(kind).items() if use.argument == argument]
