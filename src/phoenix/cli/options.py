"""The options of a reel, its request, and what the reel becomes with the catalog of this machine."""

import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from phoenix.catalog.model import Catalog
from phoenix.catalog.request_validation import SEED_SPACE, AdmissionLimits, KnownMedia, admit_reel
from phoenix.cli.console import USAGE, err, printable
from phoenix.contract import Adjustment, AspectRatio, ReelRequest, Resolution, ResolvedReel, SoundtrackRequest
from phoenix.ids import new_artifact_id
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.settings import Settings

PromptsArgument = Annotated[list[str], typer.Argument(metavar="PROMPT...", help="One clip each, in order.")]
ModelOption = Annotated[str | None, typer.Option(help="Id of the model; see `phoenix models`.")]
DurationOption = Annotated[float | None, typer.Option("--duration", help="Length of each clip, in seconds.")]
AspectRatioOption = Annotated[AspectRatio | None, typer.Option()]
ResolutionOption = Annotated[Resolution | None, typer.Option(help="The shorter side in pixels.")]
FpsOption = Annotated[int | None, typer.Option()]
StepsOption = Annotated[int | None, typer.Option(help="Denoising steps of each clip.")]
SeedOption = Annotated[int | None, typer.Option(help="Clip i uses seed + i; random if unset.")]
CrossfadeOption = Annotated[float | None, typer.Option("--crossfade", help="Overlap of the clips, in seconds.")]
AudioOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Sound file for the soundtrack of the reel.")
]

ImageOption = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="First frame of every clip, for models that take an image."),
]


def make_request(prompts: list[str], given: dict[str, Any], crossfade_s: float | None) -> ReelRequest:
    """The request for a reel. Ends the command with a message for every fault that needs no catalog to find."""
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


def with_first_frame(request: ReelRequest, artifact_id: str) -> ReelRequest:
    """The request with this image as the first frame of every clip."""
    clips = [clip.model_copy(update={"image_artifact_id": artifact_id}) for clip in request.clips]
    return request.model_copy(update={"clips": clips})


def describe_adjustment(change: Adjustment) -> str:
    """One line about a value that was rounded."""
    return printable(f"{change.pointer}: {change.requested} became {change.resolved}, {change.reason}")


def check_output(path: Path | None) -> Path | None:
    """Refuses a path that cannot be written, before a GPU renders for it."""
    if path and path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name a file in it.")
    if path and not os.access(path.parent, os.W_OK):
        raise typer.BadParameter(f"the folder {path.parent} does not exist or cannot be written.")
    return path


OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", callback=check_output, help="File to write; reel-<id>.mp4 if unset."),
]


HostOption = Annotated[
    str | None, typer.Option(help="Address to listen on; PHOENIX_API__HOST, or 127.0.0.1, if unset.")
]
PortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port to listen on; PORT, or 8080, if unset. 0 picks a free one."),
]


def with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    """The settings with the address that the command line gives."""
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    return settings.model_copy(update={"api": settings.api.model_copy(update=given)})


def check_device_names(names: list[str] | None) -> list[str] | None:
    """Refuses a mistyped device at once. A supervisor would start its workers again and again."""
    for name in names or ():
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
            raise typer.BadParameter(f"there is no device {name!r}; give cpu, cuda:N or auto.")
    return names


def resolve_reel(
    request: ReelRequest,
    catalog: Catalog,
    settings: Settings,
    *,
    audio: Path | None = None,
    image: Path | None = None,
) -> ResolvedReel:
    """The reel that a server with the same settings would make. Submits nothing.

    Draws random seeds and artifact ids as a server does, so that they differ at each call. Raises `InvalidRequest` with
    every fault, and `UnreadableMedia` for a file that no server would take.
    """
    ids = {new_artifact_id(): file for file in (audio, image) if file}
    limits = ProbeLimits.from_settings(settings)
    media: KnownMedia | None = {each: probe_media(file, limits) for each, file in ids.items()} or None
    for artifact_id, file in ids.items():
        if file is audio:
            request = request.model_copy(update={"soundtrack": SoundtrackRequest(artifact_id=artifact_id)})
        else:
            request = with_first_frame(request, artifact_id)
    return admit_reel(
        request,
        catalog,
        default_model=settings.engine.default_model,
        limits=AdmissionLimits(max_reel_duration_s=settings.limits.max_reel_duration_s),
        draw_seed=lambda: secrets.randbelow(SEED_SPACE),
        media=media,
    )
