"""The options of a reel, its request, and what the reel becomes with the catalog of this machine."""

import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from pydantic import ValidationError

from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.catalog.request_validation import SEED_SPACE, AdmissionLimits, admit_reel
from phoenix.cli.console import USAGE, err, printable, read_settings
from phoenix.cli.inputs.reel_inputs import ReelInputs
from phoenix.cli.inputs.spoken_texts import with_moved_lips, with_texts
from phoenix.contract import (
    Adjustment,
    AspectRatio,
    ClipSound,
    MediaInfo,
    OnFailedCheck,
    Quality,
    ReelRequest,
    Resolution,
    ResolvedReel,
)
from phoenix.contract.valid_part import ValidPart
from phoenix.errors import FieldError, InvalidRequest, PhoenixError
from phoenix.ids import new_artifact_id
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.settings import Settings

PromptsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="PROMPT...", help="One clip each, in order.", show_default=False)
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        allow_dash=True,
        help="JSON of a reel as POST /v1/reels takes it, in place of prompts; - is the standard input. The other "
        "options replace what it says.",
    ),
]
ModelOption = Annotated[str | None, typer.Option(help="Id of the model; see `phoenix models`.")]
DurationOption = Annotated[float | None, typer.Option("--duration", help="Length of each clip, in seconds.")]
AspectRatioOption = Annotated[AspectRatio | None, typer.Option()]
ResolutionOption = Annotated[Resolution | None, typer.Option(help="The shorter side in pixels.")]
FpsOption = Annotated[int | None, typer.Option()]
StepsOption = Annotated[int | None, typer.Option(help="Denoising steps of each clip.")]
QualityOption = Annotated[
    Quality | None, typer.Option(help="Tier of the model: how much time it takes; `standard` if unset.")
]


def parse_loras(texts: list[str] | None) -> list[dict[str, Any]] | None:
    """`ID` or `ID:SCALE` as items of `loras`."""
    if not texts:
        return None
    loras: list[dict[str, Any]] = []
    for text in texts:
        adapter_id, has_scale, scale = text.partition(":")
        try:
            loras.append({"id": adapter_id} | ({"scale": float(scale)} if has_scale else {}))
        except ValueError:
            raise typer.BadParameter(f"{text!r} is neither ID nor ID:SCALE, such as film:0.8.") from None
    return loras


def parse_upscale(text: str | None) -> dict[str, Any] | None:
    """`ID` or `ID:SCALE` as `upscale`."""
    if text is None:
        return None
    upscaler_id, has_scale, scale = text.partition(":")
    try:
        return {"id": upscaler_id} | ({"scale": float(scale)} if has_scale else {})
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither ID nor ID:SCALE, such as x4:2.") from None


HoldOption = Annotated[
    str | None,
    typer.Option(
        metavar="draft[:MODEL][@TIER]",
        help="Render a draft first, and wait for that: an animatic, or with MODEL or at TIER. `phoenix approve` then "
        "renders the reel.",
    ),
]


def hold_of(text: str | None) -> dict[str, Any]:
    """`draft[:MODEL][@TIER]` as `hold` and `draft`."""
    if text is None:
        return {}
    named, _, quality = text.partition("@")
    hold, _, model = named.partition(":")
    draft = {name: value for name, value in {"model": model, "quality": quality}.items() if value}
    return {"hold": hold, "draft": draft or None}


UpscaleOption = Annotated[
    str | None,
    typer.Option("--upscale", metavar="ID[:SCALE]", help="Upscaler, and how many times as wide the result becomes."),
]
InterpolateOption = Annotated[
    str | None,
    typer.Option(help="Interpolator, such as motion, that makes more frames: for --fps, or twice as many."),
]
LoraOption = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="ID[:SCALE]", help="Adapter of the model; may be given several times."),
]
SeedOption = Annotated[int | None, typer.Option(help="Clip i uses seed + i; random if unset.")]
CrossfadeOption = Annotated[float | None, typer.Option("--crossfade", help="Overlap of the clips, in seconds.")]
AudioOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Sound file for the soundtrack of the reel.")
]
ClipSoundOption = Annotated[
    ClipSound | None, typer.Option(help="Whether the reel has the sound that its clips have; `keep` if unset.")
]

OnFailedCheckOption = Annotated[
    OnFailedCheck | None,
    typer.Option(help="Render a clip that comes out black, frozen or silent again, once; `report` if unset."),
]
TitleOption = Annotated[str | None, typer.Option(help="Name of the job, to find it again.")]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", help="Word to find the job by; may be given several times.")
]


def reel_of(prompts: Sequence[str]) -> dict[str, Any]:
    """The JSON object of a reel with a clip for each prompt."""
    return {"clips": [{"prompt": prompt} for prompt in prompts]}


def read_reel(prompts: Sequence[str] | None, file: Path | None) -> dict[str, Any]:
    """The JSON object of a reel, with a list of objects as `clips`, and otherwise unchecked.

    Ends the command unless there are either prompts or a file with such an object.
    """
    if file is None:
        if not prompts:
            raise typer.BadParameter("give the prompt of each clip, or --file with a reel.", param_hint="PROMPT...")
        return reel_of(prompts)
    if prompts:
        _refuse("its clips have their prompts; give either prompts or a file.")
    name = "the standard input" if str(file) == "-" else str(file)
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        reel: Any = json.loads(content)
    except OSError as error:
        _refuse(f"{name} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        _refuse(f"{name} is not UTF-8.")
    except ValueError as error:
        _refuse(f"{name} is no JSON: {error}.")
    if not _has_clips(reel):
        _refuse(f'{name} is no reel: it needs an object with "clips", a list of objects with a "prompt" each.')
    return reel


def _has_clips(reel: Any) -> bool:
    clips: Any = cast("dict[str, Any]", reel).get("clips") if isinstance(reel, dict) else None
    return isinstance(clips, list) and all(isinstance(clip, dict) for clip in cast("list[Any]", clips))


def _refuse(detail: str) -> NoReturn:
    raise typer.BadParameter(detail, param_hint="--file")


def make_body(reel: dict[str, Any], given: dict[str, Any], crossfade_s: float | None) -> dict[str, Any]:
    """The JSON object of a reel without its inputs, unchecked. What is `given` replaces what `reel` has."""
    of_clips = {name: given.get(name) for name in ("caption", "narration")}
    apart = {*of_clips, "lip_sync"}
    body = reel | {name: value for name, value in given.items() if value is not None and name not in apart}
    if crossfade_s is not None:
        body["transition"] = {"kind": "crossfade", "duration_s": crossfade_s}
    return with_moved_lips(with_texts(body, **of_clips), given.get("lip_sync"))


def make_request(
    reel: dict[str, Any],
    given: dict[str, Any],
    crossfade_s: float | None,
    *,
    local: "LocalFiles | None" = None,
    check_further: Callable[[ReelRequest], object] | None = None,
) -> ReelRequest:
    """The request for a reel, with its files as local artifacts.

    Ends the command with a message for every fault that needs no server to find. `check_further` raises
    `InvalidRequest` for the faults that need the catalog. It gets the part of a faulty request that has the right form.
    """
    body = make_body(reel, given, crossfade_s)
    if local is not None:
        body = local.inputs.add_to(body, local.artifact_ids)
    try:
        return ReelRequest.model_validate(body)
    except ValidationError as error:
        faults = [FieldError(f"/{'/'.join(map(str, fault['loc']))}", fault["msg"]) for fault in error.errors()]
        part = ValidPart(ReelRequest, body, [fault["loc"] for fault in error.errors()])
        for fault in [*faults, *_find_further(part, check_further)]:
            err.print(printable(f"{fault.pointer}: {fault.detail}".removeprefix(": ")), style="red")
        raise typer.Exit(USAGE) from error


def _find_further(
    part: ValidPart[ReelRequest], check_further: Callable[[ReelRequest], object] | None
) -> list[FieldError]:
    try:
        if part.request is not None and check_further is not None:
            check_further(part.request)
    except InvalidRequest as refusal:
        return [fault for fault in refusal.field_errors if part.is_error_of_body(fault.pointer)]
    except PhoenixError as refusal:
        return [FieldError("", refusal.detail)]
    return []


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
    typer.Option(
        "-o",
        "--output",
        callback=check_output,
        help="File to write; reel-<id>.mp4 if unset. Its path is the last line of the output.",
    ),
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
        if not re.fullmatch(r"auto|cpu(\+cpu)*|cuda(:[0-9]+)?(\+cuda:[0-9]+)*", name):
            raise typer.BadParameter(f"there is no device {name!r}; give cpu, cuda:N, auto, or cuda:0+cuda:1.")
    return names


class LocalFiles:
    """The files of a reel, as the artifacts that they would be. Their ids differ at each call, as on a server."""

    def __init__(self, inputs: ReelInputs) -> None:
        self.inputs = inputs
        self.artifact_ids = {file: new_artifact_id() for file in inputs.files}

    def probe(self, limits: ProbeLimits) -> dict[str, MediaInfo]:
        """The media info of each file by its id. Raises `UnreadableMedia` for a file that no server would take."""
        return {artifact_id: probe_media(file, limits) for file, artifact_id in self.artifact_ids.items()}


def resolve_reel(
    request: ReelRequest, catalog: Catalog, settings: Settings, *, local: LocalFiles | None = None
) -> ResolvedReel:
    """The reel that a server with the same settings would make. Submits nothing.

    Draws random seeds as a server does. Takes every clip of a job that the request names for a finished clip that fits,
    because only a server knows it. Raises `InvalidRequest` with every fault, and `UnreadableMedia`.
    """
    return admit_reel(
        request,
        catalog,
        default_model=settings.engine.default_model,
        limits=AdmissionLimits(
            max_reel_duration_s=settings.limits.max_reel_duration_s,
            max_frame_pixels=settings.limits.max_upload_frame_pixels,
            default_lip_model=settings.lipsync.default_model,
            finds_faces=settings.lipsync.face_detector is not None,
        ),
        draw_seed=lambda: secrets.randbelow(SEED_SPACE),
        media=None if local is None else local.probe(ProbeLimits.from_settings(settings)),
        finished_clips=None,
    )


def check_locally(request: ReelRequest, *, local: LocalFiles) -> None:
    """Checks the reel with the models and limits of this machine. Raises like `resolve_reel`."""
    settings = read_settings()
    resolve_reel(request, load_catalog(settings.engine.catalog_file), settings, local=local)
