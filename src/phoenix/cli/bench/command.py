"""The command `phoenix bench`: options in, a report out."""

from typing import Annotated

import typer

from phoenix.cli.bench.arrangements import ArrangementsReport, arrangement_lines, arrangement_table
from phoenix.cli.bench.report import BenchReport, bench_lines, bench_table
from phoenix.cli.console import end_on_sigterm, err, exit_on_error, out, print_json
from phoenix.cli.options import (
    AspectRatioOption,
    DurationOption,
    FpsOption,
    ResolutionOption,
    StepsOption,
    describe_adjustment,
    make_request,
    reel_of,
)
from phoenix.telemetry.logs import configure_logs

FRAMES = "frames"
"""In place of a model: the lip model of the settings."""
PROMPT = "a red balloon over a harbour at dawn"


def run_bench(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Id of the model; `frames`, with --arrangements, for frames on demand."),
    ] = "animatic",
    clips: Annotated[
        int, typer.Option(min=1, max=1000, help="Clips to measure after a warm-up clip; of frames, 25 are a clip.")
    ] = 3,
    duration_s: DurationOption = None,
    aspect_ratio: AspectRatioOption = None,
    resolution: ResolutionOption = None,
    fps: FpsOption = None,
    steps: StepsOption = None,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda:N or auto.")] = "auto",
    arrangements: Annotated[
        bool, typer.Option("--arrangements", help="Compare one at a time, batches, several processes and devices.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes per device, with --arrangements.")] = 2,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Most clips in one call, with --arrangements.")] = 4,
    clients: Annotated[
        int, typer.Option(min=1, max=1000, help="Clients that each make --clips clips, with --arrangements.")
    ] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast this machine renders and encodes clips of a model. Keeps none of the clips."""
    counts = {"processes": processes, "batch": batch, "clients": clients, "clips_per_client": clips}
    if model == FRAMES and arrangements:
        _bench_frames(device, counts, as_json=as_json)
        return
    given = {"model": model, "duration_s": duration_s, "aspect_ratio": aspect_ratio, "resolution": resolution}
    given |= {"fps": fps, "steps": steps, "seed": 0}
    # Importing engine and media takes a second. `phoenix bench --help` must stay fast.
    from phoenix.cli.bench import lanes, run  # noqa: PLC0415

    with exit_on_error():
        request = make_request(reel_of([PROMPT]), given, None, check_further=run.find_model_and_reel)
    end_on_sigterm()
    # Warnings only, in readable form: the command itself reports each clip.
    configure_logs(level="WARNING", json_lines=False)
    with exit_on_error():
        if arrangements:
            report = lanes.compare(request, device=device, **counts, show_status=_show_status)
        else:
            report = run.measure(request, count=clips, device=device, show_status=_show_status)
    _print(report, as_json=as_json)


def _bench_frames(device: str, counts: dict[str, int], *, as_json: bool) -> None:
    # Importing numpy and the service takes a second, as above.
    from phoenix.cli.bench import frames  # noqa: PLC0415

    end_on_sigterm()
    configure_logs(level="ERROR", json_lines=False)
    with exit_on_error():
        report = frames.compare_frames(device=device, **counts, show_status=_show_status)
    if as_json:
        print_json(report)
        return
    for line in frames.frame_lines(report):
        out.print(line)
    out.print(frames.frame_table(report))


def _print(report: BenchReport | ArrangementsReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    elif isinstance(report, ArrangementsReport):
        _show_arrangements(report)
    else:
        _show(report)


def _show_status(what: str) -> None:
    err.print(what, style="dim")


def _show_arrangements(report: ArrangementsReport) -> None:
    for line in arrangement_lines(report):
        out.print(line)
    out.print(arrangement_table(report))


def _show(report: BenchReport) -> None:
    for line in bench_lines(report):
        out.print(line)
    for change in report.reel.adjustments:
        out.print(f"  rounded   {describe_adjustment(change)}", style="yellow")
    out.print(bench_table(report))
