"""The options of `phoenix capacity`, and what each of them may be."""

from collections.abc import Callable
from typing import Annotated

import typer

from phoenix.cli.capacity.simulation import KeyCount
from phoenix.contract.base import MAX_CLIPS

_DAY_S = 86_400


def between(least: float, most: float) -> Callable[[float | None], float | None]:
    """Refuses what is outside, and what is no number: NaN would pass the comparisons of typer's `min` and `max`."""

    def check(value: float | None) -> float | None:
        if value is not None and not least <= value <= most:
            raise typer.BadParameter(f"{value:g} is not a number from {least:,.12g} to {most:,.12g}.")
        return value

    return check


ReelsPerHourOption = Annotated[
    float, typer.Option(callback=between(0.01, 1e6), help="Reels that are submitted, in the busiest hour.")
]
ClipsOption = Annotated[int, typer.Option(min=1, max=MAX_CLIPS, help="Clips of a reel.")]
ClipSecondsOption = Annotated[
    float | None,
    typer.Option("--clip-s", callback=between(0.01, _DAY_S), help="Mean seconds for which a clip has its slot."),
]
BenchOption = Annotated[
    typer.FileBinaryRead | None,
    typer.Option(
        "--from", metavar="FILE", help="Instead of --clip-s: what `phoenix bench --json` printed; - is standard input."
    ),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait-s",
        callback=between(0, 1e6),
        help="Promise: 95 of 100 reels have begun their last clip so many seconds after they were submitted.",
    ),
]
ReadyOption = Annotated[
    float | None,
    typer.Option(
        "--ready-s",
        callback=between(0, 1e6),
        help="Promise: 95 of 100 reels are ready so many seconds after they were submitted.",
    ),
]
FinishOption = Annotated[
    float | None,
    typer.Option(
        "--finish-s",
        callback=between(0, _DAY_S),
        help="Seconds from a clip's last moment in its slot to its stored file; 0, or as in --from.",
    ),
]
AssemblyOption = Annotated[
    float,
    typer.Option("--assembly-s", callback=between(0, _DAY_S), help="Seconds that a media worker takes to join a reel."),
]
SpreadOption = Annotated[
    float,
    typer.Option(
        callback=between(0, 2), help="Standard deviation of a clip's seconds as a share of their mean; 0: all alike."
    ),
]
KeysOption = Annotated[
    KeyCount,
    typer.Option(help="one: all reels have one API key, and come in order. many: each has its own; they take turns."),
]
SlotsOption = Annotated[
    int, typer.Option(min=1, max=64, help="Clips that a GPU worker renders at a time, each of them in --clip-s.")
]
PriceOption = Annotated[
    float | None, typer.Option(callback=between(0, 1e6), help="Of one GPU worker, in whatever currency.")
]
VideoOption = Annotated[
    float | None,
    typer.Option(
        "--duration",
        callback=between(0.01, _DAY_S),
        help="Length of each clip as video, in seconds, for the cost of a minute; or as in --from.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
