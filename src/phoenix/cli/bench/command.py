"""The command `phoenix bench`: options in, a report out."""

from typing import Annotated

import typer

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.cli.bench.report import BenchReport, bench_lines, bench_table
from phoenix.cli.console import end_on_sigterm, err, exit_on_error, out, print_json, read_settings
from phoenix.cli.options import (
    AspectRatioOption,
    DurationOption,
    FpsOption,
    ResolutionOption,
    StepsOption,
    describe_adjustment,
    make_request,
    resolve_reel,
)
from phoenix.contract import TIMED_ROLES, Condition, ConditionSource, ReelRequest, ResolvedReel
from phoenix.errors import PhoenixError
from phoenix.ids import new_artifact_id
from phoenix.settings import Settings
from phoenix.telemetry.logs import configure_logs

PROMPT = "a red balloon over a harbour at dawn"


class MadeElsewhere(PhoenixError):
    """A service on the network makes the clips of the model, for money. They say nothing about this machine."""


def run_bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model.")] = "animatic",
    clips: Annotated[int, typer.Option(min=1, max=1000, help="Clips to measure after a warm-up clip.")] = 3,
    duration_s: DurationOption = None,
    aspect_ratio: AspectRatioOption = None,
    resolution: ResolutionOption = None,
    fps: FpsOption = None,
    steps: StepsOption = None,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda:N or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast this machine renders and encodes clips of a model. Keeps none of the clips."""
    given = {
        "model": model,
        "duration_s": duration_s,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "fps": fps,
        "steps": steps,
        "seed": 0,
    }
    with exit_on_error():
        request = make_request([PROMPT], given, None, check_further=_resolve)
    end_on_sigterm()
    # Warnings only, in readable form: the command itself reports each clip.
    configure_logs(level="WARNING", json_lines=False)
    with exit_on_error():
        report = measure(request, count=clips, device=device)
    if as_json:
        print_json(report)
    else:
        _show(report)


def measure(request: ReelRequest, *, count: int, device: str) -> BenchReport:
    """Measures `count` clips. Raises `NotFound`, `InvalidRequest`, `MadeElsewhere`, and the errors of `run_clips`."""
    # Importing engine and media takes a second. `phoenix bench --help` must stay fast.
    from phoenix.cli.bench.run import run_clips  # noqa: PLC0415

    model, reel, settings = _resolve(request)
    return run_clips(
        model, reel, settings, count=count, device=device, show_status=lambda what: err.print(what, style="dim")
    )


def _resolve(request: ReelRequest) -> tuple[ModelSpec, ResolvedReel, Settings]:
    settings = read_settings()
    catalog = load_catalog(settings.engine.catalog_file)
    model = catalog.get(request.model or settings.engine.default_model)
    if model.engine == "veo":
        raise MadeElsewhere
    return model, resolve_reel(_with_conditions(request, model), catalog, settings), settings


def _with_conditions(request: ReelRequest, model: ModelSpec) -> ReelRequest:
    """The request with the conditions that the model needs. Their files do not affect the speed."""
    needed = [
        Condition(
            role=role, source=ConditionSource(artifact_id=new_artifact_id()), at_s=0 if role in TIMED_ROLES else None
        )
        for role in model.needed_roles
    ]
    clips = [clip.model_copy(update={"conditions": needed}) for clip in request.clips]
    return request.model_copy(update={"clips": clips})


def _show(report: BenchReport) -> None:
    for line in bench_lines(report):
        out.print(line)
    for change in report.reel.adjustments:
        out.print(f"  rounded   {describe_adjustment(change)}", style="yellow")
    out.print(bench_table(report))
