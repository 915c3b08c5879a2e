"""`phoenix generate` and `phoenix edit`: make a video file from prompts, or from another reel of a server."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import typer

from phoenix.cli.connecting import (
    CLI_RETRY_POLICY,
    ApiKeyOption,
    JobIdArgument,
    UrlOption,
    connect,
    is_phoenix,
    local_url,
)
from phoenix.cli.console import (
    FAILED,
    INTERRUPTED,
    end_on_sigterm,
    err,
    exit_on_error,
    printable,
    read_settings,
    require_success,
    warning_lines,
)
from phoenix.cli.embedded.private import private_server
from phoenix.cli.following import follow
from phoenix.cli.inputs.arguments import (
    ConditionOption,
    ExtendsOption,
    FirstFrameOption,
    LastFrameOption,
    ReferenceOption,
    SourceVideoOption,
    role_texts,
)
from phoenix.cli.inputs.edits import (
    InsertOption,
    MoveOption,
    NoAudioOption,
    NoReuseOption,
    RemoveOption,
    ReplaceOption,
    RerollOption,
    TakeOption,
    list_changes,
)
from phoenix.cli.inputs.reel_inputs import ReelInputs, read_inputs
from phoenix.cli.inputs.spoken_texts import (
    CaptionOption,
    CaptionsOption,
    LipSyncOption,
    NarrationOption,
    VoiceOption,
)
from phoenix.cli.options import (
    AspectRatioOption,
    AudioOption,
    ClipSoundOption,
    CrossfadeOption,
    DurationOption,
    FileOption,
    FpsOption,
    HoldOption,
    InterpolateOption,
    LocalFiles,
    LoraOption,
    ModelOption,
    OnFailedCheckOption,
    OutputOption,
    PromptsArgument,
    QualityOption,
    ResolutionOption,
    SeedOption,
    StepsOption,
    TagOption,
    TitleOption,
    UpscaleOption,
    check_locally,
    describe_adjustment,
    hold_of,
    make_body,
    make_request,
    parse_loras,
    parse_upscale,
    read_reel,
    reel_of,
)
from phoenix.client import Phoenix, PhoenixClientError, PhoenixProblem
from phoenix.contract import Job, ResolvedReel
from phoenix.private_files import users_permissions


@dataclass(frozen=True)
class Server:
    """The server that makes the reel. A private server and its jobs end with this command."""

    url: str
    is_private: bool


def generate(  # noqa: PLR0913, PLR0917 - one parameter per option
    prompts: PromptsArgument = None,
    file: FileOption = None,
    model: ModelOption = None,
    duration_s: DurationOption = None,
    aspect_ratio: AspectRatioOption = None,
    resolution: ResolutionOption = None,
    fps: FpsOption = None,
    steps: StepsOption = None,
    quality: QualityOption = None,
    lora: LoraOption = None,
    upscale: UpscaleOption = None,
    interpolate: InterpolateOption = None,
    seed: SeedOption = None,
    crossfade_s: CrossfadeOption = None,
    audio: AudioOption = None,
    clip_sound: ClipSoundOption = None,
    first_frame: FirstFrameOption = None,
    last_frame: LastFrameOption = None,
    reference: ReferenceOption = None,
    source_video: SourceVideoOption = None,
    condition: ConditionOption = None,
    extends: ExtendsOption = None,
    caption: CaptionOption = None,
    narration: NarrationOption = None,
    lip_sync: LipSyncOption = None,
    captions: CaptionsOption = None,
    voice: VoiceOption = None,
    on_failed_check: OnFailedCheckOption = None,
    title: TitleOption = None,
    tag: TagOption = None,
    hold: HoldOption = None,
    output: OutputOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Make a reel, and wait for its video."""
    given = {"model": model, "quality": quality, "steps": steps, "seed": seed, "loras": parse_loras(lora)}
    given |= {"duration_s": duration_s, "aspect_ratio": aspect_ratio, "resolution": resolution, "fps": fps}
    given |= {"upscale": parse_upscale(upscale), "interpolate": interpolate, "clip_sound": clip_sound} | hold_of(hold)
    given |= {"captions": captions, "voice": voice, "caption": caption, "narration": narration, "lip_sync": lip_sync}
    given |= {"on_failed_check": on_failed_check, "title": title, "tags": tag}
    frames = role_texts(first_frame, last_frame, reference, source_video)
    reel = read_reel(prompts, file)
    local = LocalFiles(read_inputs(len(reel["clips"]), audio=audio, by_role=frames, further=condition, extends=extends))
    check = _unchecked if url else _check_here(reel, given, crossfade_s, local)
    body = make_body(reel, given, crossfade_s)
    with _connected(url, api_key, check, holds=body.get("hold") is not None) as (server, phoenix):
        print(_make_reel(body, local.inputs, phoenix, server, output))


def edit(  # noqa: PLR0913, PLR0917 - one parameter per option
    job_id: JobIdArgument,
    reroll: RerollOption = None,
    take: TakeOption = None,
    replace: ReplaceOption = None,
    insert: InsertOption = None,
    remove: RemoveOption = None,
    move: MoveOption = None,
    model: ModelOption = None,
    quality: QualityOption = None,
    aspect_ratio: AspectRatioOption = None,
    resolution: ResolutionOption = None,
    crossfade_s: CrossfadeOption = None,
    audio: AudioOption = None,
    no_audio: NoAudioOption = False,
    clip_sound: ClipSoundOption = None,
    captions: CaptionsOption = None,
    voice: VoiceOption = None,
    title: TitleOption = None,
    tag: TagOption = None,
    no_reuse: NoReuseOption = False,
    hold: HoldOption = None,
    output: OutputOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Change clips of a reel that has ended, and wait for the new video.

    Only the changed clips are rendered. The path of the video is the last line of the output. With --hold, it is the
    video of the draft.
    """
    given = {"model": model, "quality": quality, "aspect_ratio": aspect_ratio, "resolution": resolution}
    given |= {"clip_sound": clip_sound, "title": title, "drop_soundtrack": no_audio or None}
    given |= {"reuse": False if no_reuse else None, "captions": captions, "voice": voice, "tags": tag} | hold_of(hold)
    body = make_body(reel_of([]), given, crossfade_s)
    body["clips"] = list_changes(reroll=reroll, take=take, replace=replace, insert=insert, remove=remove, move=move)
    end_on_sigterm()
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = _submit(body, ReelInputs(audio), phoenix, partial(phoenix.edit, job_id))
        err.print(f"{job.id}, an edit of {job_id}", style="dim")
        print(_finish_or_hold(phoenix, job, output, is_private=False))


@contextmanager
def _connected(
    url: str | None, api_key: str | None, check: Callable[[], object], *, holds: bool
) -> Generator[tuple[Server, Phoenix]]:
    """The server that makes the reel, and a client of it. An error ends the command with its message."""
    end_on_sigterm()
    with (
        exit_on_error(),
        open_server(url, check, holds=holds) as server,
        Phoenix(server.url, api_key, retry_policy=CLI_RETRY_POLICY) as phoenix,
    ):
        yield server, phoenix


def _unchecked() -> None:
    """For a server elsewhere, which may have other models and limits: it names all faults of the request."""


def _check_here(
    reel: dict[str, Any], given: dict[str, Any], crossfade_s: float | None, local: LocalFiles
) -> Callable[[], None]:
    """Checks a reel as far as that needs no server. Returns the check that a private server would make."""
    check = partial(check_locally, local=local)
    with exit_on_error():
        request = make_request(reel, given, crossfade_s, local=local, check_further=check)
    return partial(check, request)


def _make_reel(body: dict[str, Any], inputs: ReelInputs, phoenix: Phoenix, server: Server, output: Path | None) -> Path:
    job = _submit(body, inputs, phoenix, phoenix.submit_reel)
    err.print(f"{job.id} on {server.url}", style="dim")
    return _finish_or_hold(phoenix, job, output, is_private=server.is_private)


def _finish_or_hold(phoenix: Phoenix, job: Job, output: Path | None, *, is_private: bool) -> Path:
    """The video of the job, or of its draft."""
    show_adjustments(job)
    if job.draft_job_id is None:
        return finish(phoenix, job, output, is_private=is_private)
    err.print(f"{job.draft_job_id} renders its draft", style="dim")
    path = finish(phoenix, phoenix.get_job(job.draft_job_id), output, is_private=is_private)
    err.print(f"The reel waits for your approval: `phoenix approve {job.id}`.")
    return path


@contextmanager
def open_server(url: str | None, check: Callable[[], object], *, holds: bool = False) -> Generator[Server]:
    """The server of `url`, the server that runs here, or a private server. `check` refuses what the last would."""
    settings = read_settings()
    local = url or local_url(settings)
    if url or is_phoenix(local):
        yield Server(local, is_private=False)
        return
    check()
    if holds:
        err.print("A reel that waits for an approval needs a server: start `phoenix up`.", style="red")
        raise typer.Exit(FAILED)
    err.print("No server runs here: starting a private server.", style="dim")
    with private_server(settings) as found:
        yield Server(found, is_private=True)


def _submit(body: dict[str, Any], inputs: ReelInputs, phoenix: Phoenix, submit: Callable[[dict[str, Any]], Job]) -> Job:
    """Uploads the files and submits the reel or the edit. What is refused leaves no uploads behind."""
    uploaded: dict[Path, str] = {}
    try:
        for file in inputs.files:
            uploaded[file] = _upload(phoenix, file)
        return submit(inputs.add_to(body, uploaded))
    except PhoenixProblem:
        for artifact_id in uploaded.values():
            with suppress(PhoenixClientError):
                phoenix.delete_artifact(artifact_id)
        raise


def _upload(phoenix: Phoenix, file: Path) -> str:
    """Uploads a file. Returns the id of its artifact."""
    err.print(f"uploading {printable(file.name)}", style="dim")
    return phoenix.upload(file).id


def show_adjustments(job: Job) -> None:
    """Prints a line per value of the reel that was rounded."""
    if isinstance(job.request, ResolvedReel):
        for change in job.request.adjustments:
            err.print(describe_adjustment(change), style="yellow")


def finish(phoenix: Phoenix, job: Job, output: Path | None, *, is_private: bool) -> Path:
    """Follows the job, and writes its video. Returns the path. Ends the command if the job did not succeed."""
    try:
        ended = follow(phoenix, job.id, err)
        require_success(ended)
        for line in warning_lines(ended):
            err.print(line, style="yellow")
        with users_permissions():
            return phoenix.download(ended, output or Path(f"reel-{job.id}.mp4"))
    except KeyboardInterrupt:
        _handle_interrupt(phoenix, job, is_private=is_private)


def _handle_interrupt(phoenix: Phoenix, job: Job, *, is_private: bool) -> NoReturn:
    """Cancels the job after Ctrl-C unless the user wants to keep it. Another Ctrl-C ends the command without asking."""
    try:
        # The jobs of a private server end with it, and without a terminal nobody can answer.
        can_keep = not is_private and sys.stdin.isatty()
        if can_keep and not typer.confirm("\nCancel the job?", default=True, err=True):
            err.print(f"The job goes on: `phoenix jobs watch {job.id}`, then `phoenix jobs download {job.id}`.")
        else:
            phoenix.cancel(job.id)
            err.print(f"{job.id} canceled.")
    except PhoenixClientError as error:
        err.print(printable(str(error)), style="red")
    except (KeyboardInterrupt, typer.Abort):
        pass
    raise typer.Exit(INTERRUPTED)
