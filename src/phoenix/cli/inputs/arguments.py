"""The options that say what guides a clip, and the texts that they take."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn, cast, get_args

import typer

from phoenix.contract import ClipSource, ConditionRole

PREVIOUS = "previous"
"""The source that is the end of the clip before."""

_SOURCE = "a file, `previous`, or JOB_ID:CLIP"
_OF_A_JOB = re.compile(r"(?P<job_id>job_[0-9a-z]{26}):(?P<clip>\d{1,3})")
_CLIP = re.compile(r"(?P<clip>\d{1,3}):(?P<source>.+)", re.DOTALL)
_CONDITION = re.compile(
    r"(?:(?P<clip>\d{1,3}):)?(?P<role>[a-z_]+)(?:@(?P<at_s>[\d.]+))?(?:\*(?P<strength>[\d.]+))?=(?P<source>.+)",
    re.DOTALL,
)

FirstFrameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--first-frame",
        "--image",
        metavar="[CLIP:]SOURCE",
        help=f"First frame of every clip, or of clip number CLIP: {_SOURCE}. May be given several times.",
    ),
]
LastFrameOption = Annotated[
    list[str] | None, typer.Option("--last-frame", metavar="[CLIP:]SOURCE", help="Last frame, like --first-frame.")
]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reference", metavar="[CLIP:]SOURCE", help="Picture of a subject or a style; once for each picture."
    ),
]
SourceVideoOption = Annotated[
    list[str] | None,
    typer.Option("--source-video", metavar="[CLIP:]SOURCE", help="Video that the clip is made from."),
]
ConditionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        metavar="[CLIP:]ROLE[@SECONDS][*STRENGTH]=SOURCE",
        help="Any role, such as control_depth=depth.mp4, mask=hole.mp4 or keyframe@1.5=cat.png.",
    ),
]
ExtendsOption = Annotated[
    str | None,
    typer.Option(
        metavar="JOB_ID:CLIP", help="Finished clip that comes first in the result, and that the reel continues."
    ),
]


@dataclass(frozen=True)
class ConditionArgument:
    """A condition as the command line gives it. `clip` is an index; None stands for every clip that can have it."""

    role: ConditionRole
    source: Path | ClipSource | None
    """None is the clip before."""
    clip: int | None = None
    at_s: float | None = None
    strength: float | None = None

    def is_for(self, clip: int) -> bool:
        if self.clip is None:
            # The first clip has no clip before it.
            return self.source is not None or clip > 0
        return self.clip == clip


RoleTexts = dict[ConditionRole, list[str] | None]
"""The texts of the options for one role each."""


def role_texts(
    first_frame: list[str] | None,
    last_frame: list[str] | None,
    reference: list[str] | None,
    source_video: list[str] | None,
) -> RoleTexts:
    """The texts of the options, by their roles."""
    return {
        "first_frame": first_frame,
        "last_frame": last_frame,
        "reference": reference,
        "source_video": source_video,
    }


def parse_conditions(texts: RoleTexts, further: list[str] | None) -> list[ConditionArgument]:
    """The conditions of the options for one role each, and of --condition. Ends the command for a wrong text."""
    found = [_parse_source_of_role(role, text) for role, given in texts.items() for text in given or ()]
    return [*found, *(_parse_condition(text) for text in further or ())]


def parse_extends(text: str | None) -> ClipSource | None:
    """The finished clip of --extends."""
    if text is None:
        return None
    clip = _find_clip_of_a_job(text, "--extends")
    if clip is None:
        _refuse(f"{text!r} is not JOB_ID:CLIP, such as job_…:1 for its first clip.", "--extends")
    return clip


def check_clip_numbers(conditions: Sequence[ConditionArgument], num_clips: int) -> None:
    """Refuses a number for a clip that the reel does not have, and `previous` for its first clip."""
    for condition in conditions:
        if condition.clip is None:
            continue
        option = _option_of(condition.role)
        if condition.clip >= num_clips:
            _refuse(f"there is no clip {condition.clip + 1}: the reel has {num_clips} (one per prompt).", option)
        if condition.clip == 0 and condition.source is None:
            _refuse("clip 1 has no clip before it; give a file or JOB_ID:CLIP.", option)


def _parse_source_of_role(role: ConditionRole, text: str) -> ConditionArgument:
    option = _option_of(role)
    numbered = _CLIP.fullmatch(text)
    clip, source = (numbered["clip"], numbered["source"]) if numbered else (None, text)
    return ConditionArgument(role, _parse_source(source, option), parse_clip(clip, option) if clip else None)


def _parse_condition(text: str) -> ConditionArgument:
    option, found = "--condition", _CONDITION.fullmatch(text)
    if found is None:
        _refuse(f"{text!r} is not [CLIP:]ROLE[@SECONDS][*STRENGTH]=SOURCE, such as control_depth=depth.mp4.", option)
    if found["role"] not in get_args(ConditionRole):
        _refuse(f"there is no role {found['role']!r}; choose one of {', '.join(get_args(ConditionRole))}.", option)
    return ConditionArgument(
        cast("ConditionRole", found["role"]),
        _parse_source(found["source"], option),
        parse_clip(found["clip"], option) if found["clip"] else None,
        _parse_number(found["at_s"], option),
        _parse_number(found["strength"], option),
    )


def _parse_source(text: str, option: str) -> Path | ClipSource | None:
    if text == PREVIOUS:
        return None
    if clip := _find_clip_of_a_job(text, option):
        return clip
    path = Path(text)
    if not path.is_file():
        _refuse(f"there is no file {text!r}; give {_SOURCE}.", option)
    return path


def _find_clip_of_a_job(text: str, option: str) -> ClipSource | None:
    found = _OF_A_JOB.fullmatch(text)
    if found is None:
        return None
    return ClipSource(job_id=found["job_id"], clip_index=parse_clip(found["clip"], option))


def parse_clip(text: str, option: str) -> int:
    """The index of a clip from its number, which counts from 1. Ends the command for a number of no clip."""
    if not 1 <= int(text) <= 500:
        _refuse(f"{text} is no number of a clip; the first clip is 1.", option)
    return int(text) - 1


def _parse_number(text: str | None, option: str) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        _refuse(f"{text!r} is no number.", option)


def _option_of(role: ConditionRole) -> str:
    named: set[ConditionRole] = {"first_frame", "last_frame", "reference", "source_video"}
    return f"--{role.replace('_', '-')}" if role in named else "--condition"


def _refuse(detail: str, option: str) -> NoReturn:
    raise typer.BadParameter(detail, param_hint=option)
