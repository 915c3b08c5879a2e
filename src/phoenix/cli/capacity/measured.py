"""What is known of a clip before a fleet is sized, and how a benchmark tells it."""

import math
from dataclasses import dataclass
from statistics import median

from pydantic import ValidationError

from phoenix.cli.bench_report import BenchReport


class NoBench(Exception):
    """It is not what `phoenix bench --json` prints, or tells no speed. Says why."""


@dataclass(frozen=True)
class KnownClip:
    clip_s: float
    """From one clip to the next on the same slot."""
    finish_s: float = 0.0
    """How much longer a clip takes by itself: it is encoded while its slot renders the next one."""
    duration_s: float | None = None
    """Its length as video."""


def read_bench(document: bytes) -> KnownClip:
    """From what `phoenix bench --json` prints. Raises `NoBench`."""
    try:
        report = BenchReport.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise NoBench(f"/{'/'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not (report.clips_per_hour > 0 and math.isfinite(report.clips_per_hour)):
        raise NoBench("/clips_per_hour: not a speed")
    clip_s = 3600 / report.clips_per_hour
    totals_s = [timings.total_s for timings in report.clips if timings.total_s is not None]
    return KnownClip(
        clip_s=clip_s,
        finish_s=max(0.0, median(totals_s) - clip_s) if totals_s else 0.0,
        duration_s=report.reel.clips[0].duration_s,
    )
