"""What a clip costs in the longest reel, among 1,000 reels at once, and before 100,000 waiting clips.

CPU per clip of the processes that `clips` names, compared with a reel of 10 clips in the same round. Each round takes
minutes, so the group is measured only if it is named.
"""

from collections.abc import Iterator, Sequence

from phoenix.contract.wire_types import MAX_CLIPS
from suite.groups import Group
from suite.results import Measurement, Round, Row
from suite.rows.clips import Fleet, reel_ms, running_fleet, window_ms
from suite.up import OwnerStream, reel

_SHORT = 10
_SHORT_REELS = 5
"""In a round, so that their end and start are averaged."""
_LONG = MAX_CLIPS
_REELS = 1_000
_QUEUED = 100_000
_CPU = "ms of CPU"

ROWS = (
    Row("crowd-reel", f"a clip of a reel of {_LONG}, all processes", _CPU, f"of a reel of {_SHORT}", 1.2),
    Row("crowd-reels", f"a clip of {_REELS:,} reels of one clip at once", _CPU, "of as many, one after the other", 1.2),
    Row("crowd-queued", f"a clip with {_QUEUED:,} queued, worker and replica", _CPU, f"of a reel of {_SHORT}", 1.2),
)


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    names = {row.name: row for row in rows}
    with running_fleet() as fleet:
        if row := names.get("crowd-reel"):
            yield Measurement(row, [_long_round(fleet) for _ in range(rounds)])
        if row := names.get("crowd-reels"):
            yield Measurement(row, [_reels_round(fleet) for _ in range(rounds)])
        if row := names.get("crowd-queued"):
            few = [reel_ms(fleet, fleet.worker_and_replica_s, _SHORT) for _ in range(rounds)]
            fleet.fill(_QUEUED)
            many = [window_ms(fleet) for _ in range(rounds + 1)][1:]
            yield Measurement(row, [Round(*pair) for pair in zip(many, few, strict=True)])


def _long_round(fleet: Fleet) -> Round:
    long_ms = reel_ms(fleet, fleet.all_s, _LONG)
    return Round(long_ms, sum(reel_ms(fleet, fleet.all_s, _SHORT) for _ in range(_SHORT_REELS)) / _SHORT_REELS)


def _reels_round(fleet: Fleet) -> Round:
    before_s = fleet.all_s()
    stream = OwnerStream(fleet.up.port)
    ends = stream.ends_of({fleet.up.post(reel(1)) for _ in range(_REELS)})
    assert set(ends.values()) == {"job.succeeded"}, ends
    at_once_ms = (fleet.all_s() - before_s) / _REELS * 1000
    alone_ms = [reel_ms(fleet, fleet.all_s, 1) for _ in range(_SHORT * _SHORT_REELS)]
    return Round(at_once_ms, sum(alone_ms) / len(alone_ms))


GROUP = Group("crowds", ROWS, measure, limit_s=3600, is_long=True)
