"""`phoenix plan`: shows what a reel would become, without a server and without a render."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.table import Table

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import joined_length_s
from phoenix.cli.connecting import JsonOption
from phoenix.cli.console import (
    clip_number,
    err,
    exit_on_error,
    format_gigabytes,
    format_seconds,
    out,
    print_json,
    printable,
    read_settings,
)
from phoenix.cli.inputs.arguments import (
    ConditionOption,
    ExtendsOption,
    FirstFrameOption,
    LastFrameOption,
    ReferenceOption,
    SourceVideoOption,
    role_texts,
)
from phoenix.cli.inputs.reel_inputs import read_inputs
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
    PromptsArgument,
    QualityOption,
    ResolutionOption,
    SeedOption,
    StepsOption,
    UpscaleOption,
    describe_adjustment,
    hold_of,
    make_request,
    parse_loras,
    parse_upscale,
    read_reel,
    resolve_reel,
)
from phoenix.cli.tables import with_prompts
from phoenix.clock import in_seconds
from phoenix.contract import ReelRequest, ResolvedReel


def plan(  # noqa: PLR0913, PLR0917 - one parameter per option
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
    hold: HoldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what `phoenix generate` would make with the same options, and make nothing.

    The models and limits come from the settings of this machine. Another server may have other models and limits.
    """
    given = {"model": model, "quality": quality, "steps": steps, "seed": seed, "loras": parse_loras(lora)}
    given |= {"duration_s": duration_s, "aspect_ratio": aspect_ratio, "resolution": resolution, "fps": fps}
    given |= {"upscale": parse_upscale(upscale), "interpolate": interpolate, "clip_sound": clip_sound} | hold_of(hold)
    given |= {"captions": captions, "voice": voice, "caption": caption, "narration": narration, "lip_sync": lip_sync}
    frames = role_texts(first_frame, last_frame, reference, source_video)
    reel = read_reel(prompts, file)
    local = LocalFiles(read_inputs(len(reel["clips"]), audio=audio, by_role=frames, further=condition, extends=extends))
    settings = read_settings()
    with exit_on_error():
        catalog = load_catalog(settings.engine.catalog_file)
        check = partial(resolve_reel, catalog=catalog, settings=settings, local=local)
        request = make_request(reel, given, crossfade_s, local=local, check_further=check)
        resolved = resolve_reel(request, catalog, settings, local=local)
        lines = [*plan_lines(resolved, catalog.get(resolved.model), audio), *condition_lines(resolved, local)]
        _show(resolved, request, lines, as_json=as_json)


def _show(reel: ResolvedReel, request: ReelRequest, lines: Sequence[str], *, as_json: bool) -> None:
    for line in unknown_lines(request):
        err.print(line, style="yellow")
    if as_json:
        print_json(reel)
        return
    for line in lines:
        out.print(line)
    for change in reel.adjustments:
        out.print(f"  rounded   {describe_adjustment(change)}", style="yellow")
    out.print(plan_table(reel, request))


def plan_lines(reel: ResolvedReel, model: ModelSpec, audio: Path | None = None) -> Iterator[str]:
    """Lines about the reel as a whole."""
    yield f"{model.id}: {printable(model.title)}"
    if model.memory_bytes is not None:
        yield f"  memory    {format_gigabytes(model.memory_bytes)} of weights; a clip needs more"
    yield f"  picture   {reel.width}x{reel.height} ({reel.resolution} {reel.aspect_ratio}) at {reel.fps} fps"
    if changes := _changes(reel):
        yield f"  after     {changes}"
    yield from lip_lines(reel)
    length_s = joined_length_s(reel.transition, reel.part_lengths_s)
    yield f"  length    {format_seconds(length_s)} of {_count_clips(reel)}{_joints(reel)}"
    sounds = [printable(audio.name)] if audio else []
    if model.makes_sound and reel.clip_sound == "keep":
        sounds.append("the sound of the clips")
    if sounds:
        yield f"  sound     {', mixed with '.join(sounds)}"


def condition_lines(reel: ResolvedReel, local: LocalFiles) -> Iterator[str]:
    """A line for each condition of a clip."""
    names = {str(artifact_id): printable(file.name) for file, artifact_id in local.artifact_ids.items()}
    for clip in reel.clips:
        for condition in clip.conditions:
            number, source = clip_number(clip.index), condition.source
            if source.previous_clip:
                origin = f"clip {clip_number(clip.index - 1)}, for which it waits"
            elif source.job_id is not None and source.clip_index is not None:
                origin = f"clip {clip_number(source.clip_index)} of {source.job_id}"
            else:
                origin = names[str(source.artifact_id)]
            at = "" if condition.at_s is None else f" at {in_seconds(condition.at_s)}"
            yield f"  clip {number:<5}{condition.role}{at} from {origin}"


def lip_lines(reel: ResolvedReel) -> Iterator[str]:
    """A line for each clip whose lips move."""
    for clip in reel.clips:
        if clip.lip_sync is not None:
            box = clip.lip_sync.box
            where = f"at {box.x},{box.y} of {box.width}x{box.height}" if box else "where a detector finds it"
            said = clip.lip_sync.follows
            yield f"  clip {clip_number(clip.index):<5}lips follow its {said} by {clip.lip_sync.model}, face {where}"


def unknown_lines(request: ReelRequest) -> Iterator[str]:
    """What only a server knows of the finished clips that the reel names."""
    named = {
        (each.source.job_id, each.source.clip_index)
        for clip in request.clips
        for each in clip.conditions
        if each.source.job_id is not None and each.source.clip_index is not None
    }
    for job_id, index in sorted(named):
        yield f"unknown: whether clip {clip_number(index)} of {job_id} is finished, and its length"
    if request.extends is not None:
        clip = f"clip {clip_number(request.extends.clip_index)} of {request.extends.job_id}"
        yield f"unknown: whether {clip} is finished and has the size and the frame rate of this reel"
        yield "unknown: the length of that clip, which comes first in the result; the length shown is without it"


def plan_table(reel: ResolvedReel, request: ReelRequest) -> Table:
    """One line per clip. `request` shows which seeds were given."""
    table = with_prompts(("clip", "size", "frames", "fps", "steps", "seed", "length"))
    for clip, asked in zip(reel.clips, request.clips, strict=True):
        is_drawn = request.seed is None and asked.seed is None
        table.add_row(
            str(clip_number(clip.index)),
            f"{clip.width}x{clip.height}",
            str(clip.num_frames),
            str(clip.fps),
            str(clip.steps),
            "random" if is_drawn else str(clip.seed),
            format_seconds(clip.duration_s),
            printable(clip.prompt, 200),
        )
    return table


def _changes(reel: ResolvedReel) -> str:
    """What changes the frames of the model. Empty if nothing does."""
    clip = reel.clips[0]
    upscaled = f"upscaled by {clip.upscale.id} from {clip.width}x{clip.height}" if clip.upscale else ""
    interpolated = f"interpolated by {clip.interpolate} from {clip.fps} fps" if clip.interpolate else ""
    return ", ".join(filter(None, (upscaled, interpolated)))


def _count_clips(reel: ResolvedReel) -> str:
    return "one clip" if len(reel.clips) == 1 else f"{len(reel.clips)} clips"


def _joints(reel: ResolvedReel) -> str:
    """How several clips are joined. Empty for one clip."""
    if len(reel.clips) == 1:
        return ""
    if reel.transition.kind == "cut":
        return ", joined with cuts"
    return f", joined with crossfades of {in_seconds(reel.transition.duration_s)}"
