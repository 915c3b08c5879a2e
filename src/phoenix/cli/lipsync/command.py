"""`phoenix lipsync`: make the face in a video or a picture say a sound."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from phoenix.cli.connecting import CLI_RETRY_POLICY, ApiKeyOption, UrlOption
from phoenix.cli.console import end_on_sigterm, err, exit_on_error, printable
from phoenix.cli.generate import finish, open_server
from phoenix.cli.options import OutputOption, TagOption, TitleOption
from phoenix.client import Phoenix, PhoenixClientError, PhoenixProblem
from phoenix.contract import Job
from phoenix.contract.requests import WhenShorter

_BOX = re.compile(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})")


def _parse_box(text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    match = _BOX.fullmatch(text)
    if match is None:
        raise typer.BadParameter("give four numbers of pixels: X,Y,WIDTH,HEIGHT", param_hint="--box")
    x, y, width, height = map(int, match.groups())
    return {"x": x, "y": y, "width": width, "height": height}


def lipsync(  # noqa: PLR0913, PLR0917 - one parameter per option
    video: Annotated[Path, typer.Argument(help="Video or picture with the face.", exists=True, dir_okay=False)],
    audio: Annotated[Path, typer.Argument(help="Sound that the face says.", exists=True, dir_okay=False)],
    model: Annotated[str | None, typer.Option(help="Id of a lip model; see `phoenix models`.")] = None,
    box: Annotated[
        str | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="Where the face is, in pixels of the picture.")
    ] = None,
    when_shorter: Annotated[
        WhenShorter | None, typer.Option(help="What happens if the video is shorter than the sound.")
    ] = None,
    keep_sound: Annotated[bool, typer.Option("--keep-sound", help="Keep the sound of the video.")] = False,
    title: TitleOption = None,
    tag: TagOption = None,
    output: OutputOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Make the face in a video or a picture say a sound.

    The path of the video is the last line of the output.
    """
    given = {"model": model, "box": _parse_box(box), "when_shorter": when_shorter, "title": title, "tags": tag}
    given |= {"sound": "keep" if keep_sound else None}
    body = {name: value for name, value in given.items() if value is not None}
    end_on_sigterm()
    with (
        exit_on_error(),
        open_server(url, lambda: None) as server,
        Phoenix(server.url, api_key, retry_policy=CLI_RETRY_POLICY) as phoenix,
    ):
        job = _submit(phoenix, body, video, audio)
        err.print(f"{job.id} on {server.url}", style="dim")
        print(finish(phoenix, job, output or Path(f"lipsync-{job.id}.mp4"), is_private=server.is_private))


def _submit(phoenix: Phoenix, body: dict[str, Any], video: Path, audio: Path) -> Job:
    """Uploads both files, and submits the job. What is refused leaves no uploads behind."""
    uploaded: list[str] = []
    try:
        for file in (video, audio):
            err.print(f"uploading {printable(file.name)}", style="dim")
            uploaded.append(phoenix.upload(file).id)
        return phoenix.submit_lipsync({**body, "video": uploaded[0], "audio": uploaded[1]})
    except PhoenixProblem:
        for artifact_id in uploaded:
            with suppress(PhoenixClientError):
                phoenix.delete_artifact(artifact_id)
        raise
