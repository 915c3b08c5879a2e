"""The options of `phoenix edit` that change clips. Clips are counted from 1, and as they are in the original."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

RerollOption = Annotated[
    list[int] | None,
    typer.Option(metavar="CLIP", help="Render this clip with another seed; for several, give it again."),
]
ReplaceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CLIP:PROMPT", help="Give this clip another prompt; its length and its seed stay."),
]
InsertOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CLIP:PROMPT", help="Add a clip before this one, or at the end with the next number."),
]
TakeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CLIP:TAKE", help="Show another take of this clip; takes are counted from 1."),
]
RemoveOption = Annotated[list[int] | None, typer.Option(metavar="CLIP", help="Leave this clip out.")]
MoveOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FROM:TO", help="Make clip FROM number TO. Comes after all other changes, with the numbers by then."
    ),
]
NoAudioOption = Annotated[bool, typer.Option("--no-audio", help="Drop the soundtrack.")]
NoReuseOption = Annotated[bool, typer.Option("--no-reuse", help="Render the unchanged clips again, too.")]


def list_changes(
    *,
    reroll: Sequence[int] | None,
    take: Sequence[str] | None,
    replace: Sequence[str] | None,
    insert: Sequence[str] | None,
    remove: Sequence[int] | None,
    move: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """The changes as the API takes them, one after another. Ends the command for a text of another form.

    Clips are added and left out from the last one to the first one, so that no change moves a clip that another change
    names.
    """
    changes: list[dict[str, Any]] = [
        *({"op": "replace", **_with_prompt(text)} for text in replace or ()),
        *({"op": "reroll", "index": _index(clip)} for clip in reroll or ()),
        *({"op": "take", **_numbers(text, "CLIP:TAKE", "take")} for text in take or ()),
    ]
    removed = [{"op": "remove", "index": _index(clip)} for clip in dict.fromkeys(remove or ())]
    added = [{"op": "insert", **_with_prompt(text)} for text in insert or ()]
    # Of several new clips at one place, the last one given goes in first, so that they stand in the given order.
    changes += sorted([*removed, *reversed(added)], key=lambda change: int(change["index"]), reverse=True)
    return [*changes, *({"op": "move", **_numbers(text, "FROM:TO", "to")} for text in move or ())]


def _with_prompt(text: str) -> dict[str, Any]:
    clip, _, prompt = text.partition(":")
    if not clip.isdecimal() or not prompt.strip():
        raise typer.BadParameter(f"{text!r} is not CLIP:PROMPT, such as '2:the harbour at night'.")
    return {"index": _index(int(clip)), "clip": {"prompt": prompt.strip()}}


def _numbers(text: str, form: str, second: str) -> dict[str, Any]:
    """The number of a clip as its index, and the other number, also from 0, as the field `second`."""
    clip, _, other = text.partition(":")
    if not (clip.isdecimal() and other.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not {form}, such as 3:1.")
    return {"index": _index(int(clip)), second: _index(int(other))}


def _index(clip: int) -> int:
    if clip < 1:
        raise typer.BadParameter(f"there is no number {clip}; the first one is 1.")
    return clip - 1
