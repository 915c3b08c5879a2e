"""Makes the arguments of a pipeline call from the files of the conditions, and checks them before the first step.

The classes of diffusers take wrong sizes, numbers and places without a word, and make a wrong clip.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image

from phoenix.contract import VIDEO_ROLES, ConditionRole, ResolvedClip
from phoenix.engine.backends.diffusers.classes.roles import LISTS, Form, Use, Uses, uses_of
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names, default_of
from phoenix.engine.conditions.pictures import open_condition_picture, open_whole_picture
from phoenix.engine.interface import ClipInputs, ConditionFile
from phoenix.errors import FailureCode, Stage, TaskFailed

_GUIDE_CLASSES: Mapping[Form, tuple[str, str]] = {
    Form.PIXEL_GUIDE: ("diffusers.pipelines.ltx.pipeline_ltx_condition", "LTXVideoCondition"),
    Form.LATENT_GUIDE: ("diffusers.pipelines.ltx2.pipeline_ltx2_condition", "LTX2VideoCondition"),
}
_BRIGHT = 128
"""From this grey on, a mask is white."""

_IN_CONTEXT = ("diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora", "LTX2ReferenceCondition")


def condition_arguments(pipeline: Any, inputs: ClipInputs) -> dict[str, Any]:
    """Returns the arguments of all conditions of a clip.

    Raises `TaskFailed` (MEDIA_INVALID), not retriable, for a file or a combination that the class cannot use.
    """
    uses, arguments = uses_of(pipeline.__class__), dict[str, Any]()
    _check_roles(inputs, uses, pipeline.__class__.__name__)
    for condition in inputs.conditions:
        use = uses[condition.role]
        arguments |= use.also
        if use.form in LISTS:
            arguments.setdefault(use.argument, []).append(_item(condition, use, inputs.clip, pipeline))
        elif use.argument in arguments:
            raise unusable(f"{condition.role} is given beside another condition for the same purpose")
        elif use.form is Form.BEGINNING:
            arguments |= _beginning(condition, use, inputs, pipeline)
        else:
            arguments[use.argument] = _ONLY_VALUES[use.form](condition, inputs.clip)
        if use.places:
            arguments.setdefault(use.places, []).append(latent_place(condition, inputs.clip, 1))
        if use.strength is not None and condition.strength is not None:
            arguments[use.strength] = condition.strength
    guides = arguments.get("conditions", ())
    _check_places([getattr(guide, "frame_index", getattr(guide, "index", 0)) for guide in guides])
    _check_places(next((arguments[use.places] for use in uses.values() if use.places in arguments), ()))
    _check_steps(arguments, inputs.clip, pipeline.__class__)
    return arguments


def _check_roles(inputs: ClipInputs, uses: Uses, name: str) -> None:
    given: list[ConditionRole] = [each.role for each in inputs.conditions]
    for role in given:
        if role not in uses:
            raise unusable(f"{name} takes no {role}")
        for other in uses[role].needs:
            if other not in given:
                raise unusable(f"{name} uses {role} only together with {other}")


def _item(condition: ConditionFile, use: Use, clip: ResolvedClip, pipeline: Any) -> Any:
    """Returns one of the several values of an argument."""
    match use.form:
        case Form.WHOLE_LIST:
            return open_whole_picture(condition.path, clip)
        case Form.PLACED:
            return open_condition_picture(condition.path, clip)
        case _:
            return _guide(condition, use, clip, pipeline)


def _all_frames(condition: ConditionFile, clip: ResolvedClip) -> list[Image.Image]:
    frames = read_frames(condition, clip)
    if len(frames) != clip.num_frames:
        raise unusable(f"{condition.role} has {len(frames)} frames, and the clip has {clip.num_frames}")
    return frames


def _video_tensor(frames: Sequence[Image.Image]) -> torch.Tensor:
    """Returns `[1, 3, frames, height, width]` with values from 0 to 1."""
    pixels = torch.as_tensor(np.stack([np.asarray(frame.convert("RGB")) for frame in frames]))
    return pixels.permute(3, 0, 1, 2).unsqueeze(0).float() / 255


def _mask_tensor(frames: Sequence[Image.Image]) -> torch.Tensor:
    """Returns `[1, 1, frames, height, width]`: 255 where a frame is bright, and 0 elsewhere."""
    grey = torch.as_tensor(np.stack([np.asarray(frame.convert("L")) for frame in frames]))
    return (grey >= _BRIGHT).float().mul(255).unsqueeze(0).unsqueeze(0)


def _in_context(condition: ConditionFile, clip: ResolvedClip) -> list[Any]:
    strength = {} if condition.strength is None else {"strength": condition.strength}
    return [_find_class(*_IN_CONTEXT)(frames=_all_frames(condition, clip), **strength)]


_ONLY_VALUES: Mapping[Form, Callable[[ConditionFile, ResolvedClip], Any]] = {
    Form.WHOLE: lambda condition, clip: open_whole_picture(condition.path, clip),
    Form.FITTED: lambda condition, clip: open_condition_picture(condition.path, clip),
    Form.STILL_TENSOR: lambda condition, clip: _video_tensor([open_condition_picture(condition.path, clip)]),
    Form.FRAMES: _all_frames,
    Form.MASKS: lambda condition, clip: [frame.convert("L") for frame in _all_frames(condition, clip)],
    Form.TENSOR: lambda condition, clip: _video_tensor(_all_frames(condition, clip)),
    Form.MASK_TENSOR: lambda condition, clip: _mask_tensor(_all_frames(condition, clip)),
    Form.IN_CONTEXT: _in_context,
}
"""Make the value of an argument that takes one condition."""


def _beginning(condition: ConditionFile, use: Use, inputs: ClipInputs, pipeline: Any) -> dict[str, Any]:
    """Returns the arguments of a class that makes its frames in windows, the first of which begins with the video."""
    frames, stride = read_frames(condition, inputs.clip), pipeline.vae_scale_factor_temporal
    count = (len(frames) - 1) // stride * stride + 1
    kind = pipeline.__class__
    default: int = default_of(kind, "base_num_frames")
    window = min(int(str(inputs.model.options.get("base_num_frames", default))), inputs.clip.num_frames)
    if count >= window:
        raise unusable(f"{condition.role} has {count} frames, which fill the first {window} frames of the clip")
    return {use.argument: frames[-count:], "overlap_history": count, "base_num_frames": window}


def read_frames(condition: ConditionFile, clip: ResolvedClip) -> list[Image.Image]:
    """Returns the frames of a video condition. Raises `TaskFailed` if the file is not of whole frames of the clip."""
    frame_bytes, size_bytes = clip.width * clip.height * 3, condition.path.stat().st_size
    count, rest_bytes = divmod(size_bytes, frame_bytes)
    if rest_bytes or not 1 <= count <= clip.num_frames:
        raise unusable(f"{condition.role} has {size_bytes} bytes, which are not 1 to {clip.num_frames} frames")
    with condition.path.open("rb") as file:
        size = (clip.width, clip.height)
        return [Image.frombytes("RGB", size, file.read(frame_bytes)) for _ in range(count)]


def _guide(condition: ConditionFile, use: Use, clip: ResolvedClip, pipeline: Any) -> Any:
    """Returns the object with which LTX takes a condition."""
    stride = pipeline.vae_temporal_compression_ratio
    place = latent_place(condition, clip, stride)
    kind = _find_class(*_GUIDE_CLASSES[use.form])
    values: dict[str, Any] = {} if condition.strength is None else {"strength": condition.strength}
    is_video = condition.role in VIDEO_ROLES
    content: Any = _guide_frames(condition, clip, stride) if is_video else open_condition_picture(condition.path, clip)
    if use.form is Form.PIXEL_GUIDE:
        return kind(**{"video" if is_video else "image": content}, frame_index=place * stride, **values)
    # By default, a picture is compressed as in the training data, and loses its details.
    return kind(frames=content, index=place, crf=0, **values)


def _find_class(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _guide_frames(condition: ConditionFile, clip: ResolvedClip, stride: int) -> list[Image.Image]:
    """Returns as many frames as make whole latent frames: one, and then `stride` for each."""
    frames = read_frames(condition, clip)
    count = (len(frames) - 1) // stride * stride + 1
    return frames[-count:] if condition.is_ending else frames[:count]


def latent_place(condition: ConditionFile, clip: ResolvedClip, stride: int) -> int:
    """Returns the latent frame, from 0, that is nearest to the time of the condition. `stride`: frames of each."""
    last = (clip.num_frames - 1) // stride
    if condition.role == "last_frame":
        return last
    return min(last, round((condition.at_s or 0) * clip.fps / stride))


def _check_places(places: Sequence[int]) -> None:
    """Two conditions in one place would overwrite each other."""
    if len(set(places)) < len(places):
        raise unusable("two of its conditions fall on the same frame; put them further apart")


def _check_steps(arguments: Mapping[str, Any], clip: ResolvedClip, kind: type) -> None:
    """A class that starts from a video makes only the share `strength` of the steps, and fails if that is no step."""
    if "video" not in arguments or "strength" not in accepted_names(kind):
        return
    strength = arguments.get("strength", default_of(kind, "strength"))
    if int(clip.steps * strength) < 1:
        raise unusable(f"{clip.steps} steps at a strength of {strength} are less than one step; raise one of them")


def unusable(reason: str) -> TaskFailed:
    """Returns the failure for conditions that the class cannot use."""
    return TaskFailed(FailureCode.MEDIA_INVALID, f"the conditions of the clip: {reason}", stage=Stage.FETCH)
