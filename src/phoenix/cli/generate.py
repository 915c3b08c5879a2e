"""`phoenix generate`: from prompts to a file, with a server that runs or with one of its own."""

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from phoenix.cli.connecting import CLI_PATIENCE, ApiKeyOption, UrlOption, is_phoenix, local_url
from phoenix.cli.console import err, printable
from phoenix.cli.embedded.private import private_server
from phoenix.cli.following import follow
from phoenix.cli.problems import INTERRUPTED, USAGE, explained, read_settings, require_success
from phoenix.client import Phoenix, PhoenixClientError
from phoenix.contract.base import AspectRatio, Resolution
from phoenix.contract.jobs import Job
from phoenix.contract.requests import ReelRequest, SoundtrackRequest
from phoenix.contract.resolved import ResolvedReel

TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Server:
    """`is_private`: it ends with this command, and its jobs with it."""

    url: str
    is_private: bool


def generate(  # noqa: PLR0913, PLR0917 - one parameter per option
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="One clip each, in order.")],
    model: Annotated[str | None, typer.Option(help="Id of a model; see `phoenix models`.")] = None,
    duration_s: Annotated[float | None, typer.Option("--duration", help="Of each clip, in seconds.")] = None,
    aspect_ratio: Annotated[AspectRatio | None, typer.Option()] = None,
    resolution: Annotated[Resolution | None, typer.Option(help="The shorter side.")] = None,
    fps: Annotated[int | None, typer.Option()] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps of each clip.")] = None,
    seed: Annotated[int | None, typer.Option(help="Clip i uses seed + i; drawn at random if left out.")] = None,
    crossfade_s: Annotated[float | None, typer.Option("--crossfade", help="Seconds by which clips overlap.")] = None,
    audio: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Sound to lay under the reel.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; reel-<id>.mp4 if unset.")
    ] = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Make a reel, and wait for it.

    The path of the video is the last line of the output.
    """
    given = {
        "model": model,
        "duration_s": duration_s,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "fps": fps,
        "steps": steps,
        "seed": seed,
    }
    request = make_request(prompts, given, crossfade_s)
    signal.signal(signal.SIGTERM, _end)
    with explained(), _server(url) as server, Phoenix(server.url, api_key, patience=CLI_PATIENCE) as phoenix:
        if audio:
            request = request.model_copy(update={"soundtrack": _upload(phoenix, audio)})
        job = phoenix.submit_reel(request)
        err.print(f"{job.id} on {server.url}", style="dim")
        _show_adjustments(job)
        path = _finish(phoenix, job, output, is_private=server.is_private)
        print(path)


def make_request(prompts: list[str], given: dict[str, Any], crossfade_s: float | None) -> ReelRequest:
    """Ends the command with each fault that can be seen without the server."""
    body = {name: value for name, value in given.items() if value is not None}
    body["clips"] = [{"prompt": prompt} for prompt in prompts]
    if crossfade_s is not None:
        body["transition"] = {"kind": "crossfade", "duration_s": crossfade_s}
    try:
        return ReelRequest.model_validate(body)
    except ValidationError as error:
        for fault in error.errors():
            err.print(f"/{'/'.join(map(str, fault['loc']))}: {fault['msg']}", style="red")
        raise typer.Exit(USAGE) from error


@contextmanager
def _server(url: str | None) -> Generator[Server]:
    settings = read_settings()
    local = url or local_url(settings)
    if url or is_phoenix(local):
        yield Server(local, is_private=False)
        return
    err.print("No server runs here: starting a private one.", style="dim")
    with private_server(settings) as found:
        yield Server(found, is_private=True)


def _upload(phoenix: Phoenix, audio: Path) -> SoundtrackRequest:
    err.print(f"uploading {printable(audio.name)}", style="dim")
    return SoundtrackRequest(artifact_id=phoenix.upload(audio).id)


def _show_adjustments(job: Job) -> None:
    if isinstance(job.request, ResolvedReel):
        for change in job.request.adjustments:
            became = f"{change.pointer}: {change.requested} became {change.resolved}, {change.reason}"
            err.print(printable(became), style="yellow")


def _finish(phoenix: Phoenix, job: Job, output: Path | None, *, is_private: bool) -> Path:
    try:
        ended = follow(phoenix, job.id, err)
        require_success(ended)
        return phoenix.download(ended, output or Path(f"reel-{job.id}.mp4"))
    except KeyboardInterrupt:
        _leave(phoenix, job, is_private=is_private)


def _leave(phoenix: Phoenix, job: Job, *, is_private: bool) -> NoReturn:
    """After Ctrl-C: cancels the job unless it is wanted. Another Ctrl-C leaves without asking any more."""
    try:
        # The jobs of a private server end with it, and without a terminal there is nobody to ask.
        may_go_on = not is_private and sys.stdin.isatty()
        if may_go_on and not typer.confirm("\nCancel the job?", default=True, err=True):
            err.print(f"It goes on: `phoenix jobs watch {job.id}`.")
        else:
            phoenix.cancel(job.id)
            err.print(f"{job.id} canceled.")
    except PhoenixClientError as error:
        err.print(printable(str(error)), style="red")
    except (KeyboardInterrupt, typer.Abort):
        pass
    raise typer.Exit(INTERRUPTED)


def _end(_signal: int, _frame: object) -> NoReturn:
    """On SIGTERM: through every `finally`, so that a private server and its files go too."""
    raise SystemExit(TERMINATED)
