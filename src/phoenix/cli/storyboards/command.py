"""`phoenix storyboard`: from an idea to a reel request, talked into shape, and to a video if asked."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from phoenix.cli.connecting import CLI_RETRY_POLICY, ApiKeyOption, JsonOption, UrlOption
from phoenix.cli.console import FAILED, end_on_sigterm, err, exit_on_error, out, print_json, printable
from phoenix.cli.generate import Server, finish, open_server, show_adjustments
from phoenix.cli.options import (
    AspectRatioOption,
    DurationOption,
    ModelOption,
    OutputOption,
    describe_adjustment,
)
from phoenix.client import Phoenix
from phoenix.clock import in_seconds
from phoenix.contract import PlannerName, Storyboard, StoryboardState
from phoenix.ids import STORYBOARD_ID_PATTERN

IdeaArgument = Annotated[
    str, typer.Argument(metavar="IDEA", help="What the reel should show, or the id of a storyboard: stb_…")
]
CharacterOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=LOOK", help="Who looks the same in every clip; may be given several times."),
]
PlannerOption = Annotated[
    PlannerName | None, typer.Option(help="`llm` if the server has one and this is unset, or else `template`.")
]


def storyboard(  # noqa: PLR0913, PLR0917 - one parameter per option
    idea: IdeaArgument,
    refine: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A wish for it; may be given several times, in order.")
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Render the reel, and wait for its video.")] = False,
    model: ModelOption = None,
    clips: Annotated[int | None, typer.Option(help="Number of clips; the planner decides if unset.")] = None,
    duration_s: DurationOption = None,
    aspect_ratio: AspectRatioOption = None,
    style: Annotated[str | None, typer.Option(help="How every clip looks; a part of each prompt.")] = None,
    character: CharacterOption = None,
    caption: Annotated[bool, typer.Option("--caption", help="Also write what is shown over each clip.")] = False,
    narrate: Annotated[bool, typer.Option("--narrate", help="Also write what a voice says in each clip.")] = False,
    voice: Annotated[str | None, typer.Option(help="The voice of --narrate; the server's default if unset.")] = None,
    planner: PlannerOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Turn an idea into a storyboard, and into a video with --generate.

    A language model of the server writes it, or a template. With --generate the path of the video is the last line of
    the output.
    """
    given = {"model": model, "num_clips": clips, "duration_s": duration_s, "aspect_ratio": aspect_ratio}
    given |= {"style": style, "characters": parse_characters(character), "planner": planner}
    given |= {"caption": caption or None, "narrate": narrate or None, "voice": voice}
    body = {name: value for name, value in given.items() if value is not None}
    is_known = re.fullmatch(STORYBOARD_ID_PATTERN, idea) is not None
    if is_known and body:
        raise typer.BadParameter("the storyboard has these options already; say with --refine what to change.")
    end_on_sigterm()
    with (
        exit_on_error(),
        open_server(url, lambda: None) as server,
        Phoenix(server.url, api_key, retry_policy=CLI_RETRY_POLICY) as phoenix,
    ):
        known = idea if is_known else None
        written = write(phoenix, known, {"idea": idea, **body}, refine or [], is_private=server.is_private)
        hint = f"{written.id} on {server.url}"
        if server.is_private and not generate:
            hint = "It ends with this command: --generate renders it, and --json prints it."
        print_json(written) if as_json else print_storyboard(written, hint=hint)
        if generate:
            print(_generate(phoenix, written, server, output))


def _generate(phoenix: Phoenix, written: Storyboard, server: Server, output: Path | None) -> Path:
    """Renders the reel of the storyboard. Returns the path of the video."""
    assert written.reel is not None
    job = phoenix.submit_reel(written.reel)
    err.print(f"{job.id} on {server.url}", style="dim")
    show_adjustments(job)
    return finish(phoenix, job, output, is_private=server.is_private)


def parse_characters(texts: list[str] | None) -> list[dict[str, str]] | None:
    """`NAME=LOOK` as items of `characters`."""
    if not texts:
        return None
    characters: list[dict[str, str]] = []
    for text in texts:
        name, has_look, look = (part.strip() for part in text.partition("="))
        if not (name and has_look and look):
            raise typer.BadParameter(f"{text!r} is not NAME=LOOK, such as 'Mia=a girl in a yellow raincoat'.")
        characters.append({"name": name, "description": look})
    return characters


def write(
    phoenix: Phoenix, storyboard_id: str | None, body: dict[str, Any], wishes: list[str], *, is_private: bool
) -> Storyboard:
    """The storyboard after all wishes. Ends the command with status 1 if it could not be written."""
    on_text = _TypedText()
    if storyboard_id is None:
        found = phoenix.create_storyboard(body, on_text=on_text)
    else:
        found = phoenix.get_storyboard(storyboard_id)
        if not wishes and found.state is StoryboardState.FAILED:
            found = phoenix.retry_storyboard(storyboard_id, on_text=on_text)
    require_written(found, is_private=is_private)
    for wish in wishes:
        found = phoenix.refine_storyboard(found.id, wish, on_text=on_text)
        require_written(found, is_private=is_private)
    return found


def require_written(found: Storyboard, *, is_private: bool) -> None:
    """Ends the command with the reason unless the storyboard has a reel that is up to date."""
    if found.state is StoryboardState.DRAFT:
        return
    if found.error is None:
        err.print(f"{found.id} is being written.", style="red")
    else:
        err.print(f"{found.error.code.value}: {printable(found.error.message)}", style="red")
        if found.error.retriable and not is_private:
            err.print(f"Nothing is lost: `phoenix storyboard {found.id}` tries again.")
    raise typer.Exit(FAILED)


class _TypedText:
    """Shows on a terminal that a language model writes, by the number of characters."""

    def __init__(self) -> None:
        self._attempt, self._length, self._shown = 1, 0, 0

    def __call__(self, attempt: int, text: str) -> None:
        if attempt != self._attempt:
            self._attempt, self._length, self._shown = attempt, 0, 0
            err.print("The answer was no reel; the language model repairs it.", style="dim")
        self._length += len(text)
        if sys.stderr.isatty() and self._length - self._shown >= 500:
            self._shown = self._length
            err.print(f"{self._length} characters are written", style="dim")


def print_storyboard(found: Storyboard, *, hint: str) -> None:
    """Prints each clip of the reel, and what the planner says, for people."""
    assert found.reel is not None
    for change in found.adjustments:
        err.print(describe_adjustment(change), style="yellow")
    title = found.reel.title or ""
    out.print(f"{printable(title, 200)} ({found.reel.model}, by {_writer(found)})", style="bold")
    for number, clip in enumerate(found.reel.clips, start=1):
        length_s = clip.duration_s or found.reel.duration_s
        length = f" [{in_seconds(length_s)}]" if length_s else ""
        out.print(f"{number:>3}{length} {printable(clip.prompt, 4000)}")
        for name, text in (("shown", clip.caption), ("said", clip.narration)):
            if text:
                out.print(f"    {name}: {printable(text, 2000)}", style="dim")
    out.print(printable(found.messages[-1].text, 2000), style="dim")
    err.print(hint, style="dim")


def _writer(found: Storyboard) -> str:
    return "a language model" if found.planner == "llm" else "a template"
