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
CaptionsOption = Annotated[
    # Not `CaptionMode`: older releases of typer take no type with a description of its own.
    Literal["off", "track", "burned"] | None,
    typer.Option(help="Where captions go: a track of the MP4, or burned into the picture."),
]
VoiceOption = Annotated[str | None, typer.Option(help="Voice of the narration; the server's default if unset.")]


def with_texts(body: dict[str, Any], **texts: Sequence[str] | None) -> dict[str, Any]:
    """The body of a reel with texts for its clips: of each name some, each with the number of its clip, from 1.

    Refuses a number without a clip.
    """
    clips = [dict(clip) for clip in body["clips"]]
    for name, given in ((name, each) for name, values in texts.items() for each in values or ()):
        option, found = f"--{name}", _OF_CLIP.fullmatch(given)
        if found is None:
            raise typer.BadParameter("give the number of a clip and a text, such as 1:Hello", param_hint=option)
        index = parse_clip(found["clip"], option)
        if index >= len(clips):
            detail = f"there is no clip {index + 1}: the reel has {len(clips)} (one per prompt)."
            raise typer.BadParameter(detail, param_hint=option)
        clips[index][name] = found["text"]
    return {**body, "clips": clips}
