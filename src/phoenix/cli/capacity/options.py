"""The options of `phoenix capacity` and their allowed values."""

from collections.abc import Callable
from typing import Annotated

import typer

from phoenix.cli.capacity.simulation import KeyCount
from phoenix.contract import MAX_CLIPS

_DAY_S = 86_400


def between(least: float, most: float) -> Callable[[float | None], float | None]:
    """Refuses numbers outside the range, and NaN, which would pass the `min` and `max` of typer."""

    def check(value: float | None) -> float | None:
        if value is not None and not least <= value <= most:
            raise typer.BadParameter(f"{value:,.12g} is not a number from {least:,.12g} to {most:,.12g}.")
        return value

    return check


ReelsPerHourOption = Annotated[
    float | None, typer.Option(callback=between(0.01, 1e6), help="Reels submitted in the busiest hour.")
]
BurstOption = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="Reels submitted at the same moment, instead of --reels-per-hour.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, help="Describe a fleet of this size, instead of the smallest that is enough."),
]
ClipsOption = Annotated[int, typer.Option(min=1, max=MAX_CLIPS, help="Clips of each reel.")]
ClipSecondsOption = Annotated[
    float | None,
    typer.Option(
        "--clip-s",
        callback=between(0.01, _DAY_S),
        help="Mean seconds that a clip occupies its slot; 60 with --burst if unset.",
    ),
]
BenchOption = Annotated[
    typer.FileBinaryRead | None,
    typer.Option(
        "--from", metavar="FILE", help="Output of `phoenix bench --json`, instead of --clip-s; - is standard input."
    ),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait-s",
        callback=between(0, 1e6),
        help="Promise: 95 of 100 reels start their last clip within this many seconds after submission.",
    ),
]
ReadyOption = Annotated[
    float | None,
    typer.Option(
        "--ready-s",
        callback=between(0, 1e6),
        help="Promise: 95 of 100 reels are ready within this many seconds after submission.",
    ),
]
FinishOption = Annotated[
    float | None,
    typer.Option(
        "--finish-s",
        callback=between(0, _DAY_S),
        help="Seconds from the end of a clip on its slot to its stored file; 0, or from --from, if unset.",
    ),
]
AssemblyOption = Annotated[
    float | None,
    typer.Option(
        "--assembly-s",
        callback=between(0, _DAY_S),
        help="Seconds that a media worker takes to join a reel; 6, or 0 with --burst, if unset.",
    ),
]
SpreadOption = Annotated[
    float | None,
    typer.Option(
        callback=between(0, 2),
        help="Standard deviation of the seconds of a clip as a share of their mean, 0 for equal clips; 0.25, or 0 with "
        "--burst, if unset.",
    ),
]
KeysOption = Annotated[
    KeyCount,
    typer.Option(help="one: all reels have one API key, first come, first served. many: one key each, fair queueing."),
]
SlotsOption = Annotated[
    int, typer.Option(min=1, max=64, help="Clips that a GPU worker renders at a time, each in --clip-s.")
]
PriceOption = Annotated[
    float | None, typer.Option(callback=between(0, 1e6), help="Price of one GPU worker, in any currency.")
]
VideoOption = Annotated[
    float | None,
    typer.Option(
        "--duration",
        callback=between(0.01, _DAY_S),
        help="Length of each clip as video, in seconds, for the cost of a minute; from --from if unset.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
