"""The options for captions and narration, and the texts that they take."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from phoenix.cli.inputs.arguments import parse_clip

_OF_CLIP = re.compile(r"(?P<clip>\d{1,3}):(?P<text>.+)", re.DOTALL)

CaptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--caption", metavar="CLIP:TEXT", help="Text that clip number CLIP shows. May be given several times."
    ),
]
NarrationOption = Annotated[
    list[str] | None,
    typer.Option("--narration", metavar="CLIP:TEXT", help="Text that a voice speaks over clip number CLIP."),
]
LipSyncOption = Annotated[
    list[str] | None,
    typer.Option(
        "--lip-sync",
        metavar="CLIP[:X,Y,WIDTH,HEIGHT]",
        help="Let the face in clip number CLIP say its narration, or its audio. The box of the face is in pixels.",
    ),
]
CaptionsOption = Annotated[
    # Not `CaptionMode`: older releases of typer take no type with a description of its own.
    Literal["off", "track", "burned"] | None,
    typer.Option(help="Where captions go: a track of the MP4, or burned into the picture."),
]
VoiceOption = Annotated[str | None, typer.Option(help="Voice of the narration; the server's default if unset.")]


_OF_FACE = re.compile(r"(?P<clip>\d{1,3})(:(?P<x>\d+),(?P<y>\d+),(?P<width>\d+),(?P<height>\d+))?")


def with_moved_lips(body: dict[str, Any], faces: Sequence[str] | None) -> dict[str, Any]:
    """The body of a reel with `lip_sync` for some of its clips. Refuses a number without a clip."""
    clips = [dict(clip) for clip in body["clips"]]
    for given in faces or ():
        found = _OF_FACE.fullmatch(given)
        if found is None:
            detail = "give the number of a clip, or with the box of its face such as 1:220,80,200,240"
            raise typer.BadParameter(detail, param_hint="--lip-sync")
        index = _find_index(clips, found["clip"], "--lip-sync")
        box = {name: int(found[name]) for name in ("x", "y", "width", "height") if found[name]}
        clips[index]["lip_sync"] = {"box": box} if box else True
    return {**body, "clips": clips}


def with_texts(body: dict[str, Any], **texts: Sequence[str] | None) -> dict[str, Any]:
    """The body of a reel with texts for its clips: of each name some, each with the number of its clip, from 1.

    Refuses a number without a clip.
    """
    clips = [dict(clip) for clip in body["clips"]]
    for name, given in ((name, each) for name, values in texts.items() for each in values or ()):
        option, found = f"--{name}", _OF_CLIP.fullmatch(given)
        if found is None:
            raise typer.BadParameter("give the number of a clip and a text, such as 1:Hello", param_hint=option)
        clips[_find_index(clips, found["clip"], option)][name] = found["text"]
    return {**body, "clips": clips}


def _find_index(clips: Sequence[object], number: str, option: str) -> int:
    index = parse_clip(number, option)
    if index >= len(clips):
        detail = f"there is no clip {index + 1}: the reel has {len(clips)} (one per prompt)."
        raise typer.BadParameter(detail, param_hint=option)
    return index
