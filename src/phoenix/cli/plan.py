"""`phoenix plan`: shows what a reel would become, without a server and without a render."""

from collections.abc import Iterator
from pathlib import Path

from rich.table import Column, Table

from phoenix.catalog.model import ModelSpec, load_catalog
from phoenix.catalog.resolve import joined_length_s
from phoenix.cli.connecting import JsonOption
from phoenix.cli.console import (
    exit_on_error,
    format_gigabytes,
    format_seconds,
    out,
    print_json,
    printable,
    read_settings,
)
from phoenix.cli.options import (
    AspectRatioOption,
    AudioOption,
    CrossfadeOption,
    DurationOption,
    FpsOption,
    ImageOption,
    ModelOption,
    PromptsArgument,
    ResolutionOption,
    SeedOption,
    StepsOption,
    describe_adjustment,
    make_request,
    resolve_reel,
)
from phoenix.clock import in_seconds
from phoenix.contract import ReelRequest, ResolvedReel


def plan(  # noqa: PLR0913, PLR0917 - one parameter per option
    prompts: PromptsArgument,
    model: ModelOption = None,
    duration_s: DurationOption = None,
    aspect_ratio: AspectRatioOption = None,
    resolution: ResolutionOption = None,
    fps: FpsOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    crossfade_s: CrossfadeOption = None,
    audio: AudioOption = None,
    image: ImageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what `phoenix generate` would make with the same options, and make nothing.

    The models and limits come from the settings of this machine. Another server may have other models and limits.
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
    request, settings = make_request(prompts, given, crossfade_s), read_settings()
    with exit_on_error():
        catalog = load_catalog(settings.engine.catalog_file)
        reel = resolve_reel(request, catalog, settings, audio=audio, image=image)
        if as_json:
            print_json(reel)
            return
        for line in plan_lines(reel, catalog.get(reel.model), audio):
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
    length_s = joined_length_s(reel.transition, [clip.duration_s for clip in reel.clips])
    yield f"  length    {format_seconds(length_s)} of {_count_clips(reel)}{_joints(reel)}"
    if audio is not None:
        yield f"  sound     {printable(audio.name)}"


def plan_table(reel: ResolvedReel, request: ReelRequest) -> Table:
    """One line per clip. `request` shows which seeds were given."""
    kept = [Column(name, no_wrap=True) for name in ("clip", "size", "frames", "fps", "steps", "seed", "length")]
    table = Table(*kept, Column("prompt", no_wrap=True, overflow="ellipsis"), box=None, pad_edge=False)
    for clip, asked in zip(reel.clips, request.clips, strict=True):
        is_drawn = request.seed is None and asked.seed is None
        table.add_row(
            str(clip.index),
            f"{clip.width}x{clip.height}",
            str(clip.num_frames),
            str(clip.fps),
            str(clip.steps),
            "random" if is_drawn else str(clip.seed),
            format_seconds(clip.duration_s),
            printable(clip.prompt, 60),
        )
    return table


def _count_clips(reel: ResolvedReel) -> str:
    return "one clip" if len(reel.clips) == 1 else f"{len(reel.clips)} clips"


def _joints(reel: ResolvedReel) -> str:
    """How several clips are joined. Empty for one clip."""
    if len(reel.clips) == 1:
        return ""
    if reel.transition.kind == "cut":
        return ", joined with cuts"
    return f", joined with crossfades of {in_seconds(reel.transition.duration_s)}"
