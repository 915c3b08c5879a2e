"""The options for captions and narration, and the texts that they take."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from phoenix.contract import CaptionMode

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
    CaptionMode | None, typer.Option(help="Where captions go: a track of the MP4, or burned into the picture.")
]
VoiceOption = Annotated[str | None, typer.Option(help="Voice of the narration; the server's default if unset.")]


def with_texts(body: dict[str, Any], **texts: Sequence[str] | None) -> dict[str, Any]:
    """The body of a reel with texts for its clips: of each name some, each with the number of its clip.

    Refuses a number without a clip.
    """
    clips = [dict(clip) for clip in body["clips"]]
    for name, given in ((name, each) for name, values in texts.items() for each in values or ()):
        found = _OF_CLIP.fullmatch(given)
        if found is None:
            raise typer.BadParameter(f"--{name} {given}: give the number of a clip and a text, such as 0:Hello")
        number = int(found["clip"])
        if number >= len(clips):
            raise typer.BadParameter(f"--{name} {given}: there is no clip {number}; the last one is {len(clips) - 1}")
        clips[number][name] = found["text"]
    return {**body, "clips": clips}
