"""Makes the conditions of a trial clip, for a warm-up or a benchmark. Their content does not affect the speed."""

from pathlib import Path

from PIL import Image

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.contract import VIDEO_ROLES, ConditionRole, ResolvedClip
from phoenix.engine.interface import ConditionFile

_GREY = 128


def make_trial_conditions(model: ModelSpec, clip: ResolvedClip, folder: Path) -> tuple[ConditionFile, ...]:
    """Writes a grey picture or video into `folder` for each condition that the model needs."""
    return tuple(
        _make(role, model.conditions[role], clip, folder / f"condition-{place}")
        for place, role in enumerate(model.needed_roles)
    )


def _make(role: ConditionRole, rule: ConditionRule, clip: ResolvedClip, path: Path) -> ConditionFile:
    if role in VIDEO_ROLES:
        frame = bytes([_GREY]) * (clip.width * clip.height * 3)
        with path.open("wb") as file:
            for _ in range(clip.frames_of_source(rule.overlap_s)):
                file.write(frame)
    else:
        path = path.with_suffix(".png")
        Image.new("RGB", (clip.width, clip.height), "grey").save(path)
    return ConditionFile(role, path, at_s=0 if role == "keyframe" else None)
