"""Decides at which rate the frames of a video are shown, from their times. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

# A container with ticks of a millisecond rounds each time by half a tick; some phones are off by more.
_TOLERANCE_S = 0.002
# Rates of cameras, screens and films. A recording with uneven distances gets the most likely one.
_STANDARD_FPS = tuple(map(Fraction, (10, 12, 15, 16, 20, 24, 25, 30, 50, 60)))
# Television slows these rates down by 0.1 %.
_NTSC = Fraction(1000, 1001)
_NTSC_BASES = (24, 30, 60)
_MAX_DENOMINATOR = 1001


def find_rate(times: Sequence[int], tick_s: Fraction, stated: Iterable[Fraction | None]) -> tuple[Fraction, bool]:
    """Returns the frames per second, and whether every frame is on the beat of this rate.

    `times` are sorted. A stated rate is only used if all times agree with it. The average of times is only used if they
    are even. For uneven times, each distance between two frames votes for the standard rate that is nearest.
    """
    mean = _mean_rate(times, tick_s)
    for rate in (*stated, mean):
        if rate is not None and is_regular(times, tick_s, rate):
            return rate, True
    return _vote(times, tick_s), False


def is_regular(times: Sequence[int], tick_s: Fraction, rate: Fraction) -> bool:
    """Returns whether the sorted times belong to a video with exactly this rate, and without a gap."""
    if rate <= 0:
        return False
    tick, step_s = float(tick_s), float(1 / rate)
    return all(abs((time - times[0]) * tick - index * step_s) <= _TOLERANCE_S for index, time in enumerate(times))


def most_frequent(times: Sequence[int], tick_s: Fraction) -> Fraction:
    """Returns the most frequent distance between neighbours of sorted times, in seconds; 0 for one time."""
    distances = Counter(later - earlier for earlier, later in pairwise(times) if later > earlier)
    return distances.most_common(1)[0][0] * tick_s if distances else Fraction(0)


def _mean_rate(times: Sequence[int], tick_s: Fraction) -> Fraction | None:
    if len(times) < 2 or times[-1] == times[0]:
        return None
    return Fraction(len(times) - 1, (times[-1] - times[0]) * tick_s).limit_denominator(_MAX_DENOMINATOR)


def _vote(times: Sequence[int], tick_s: Fraction) -> Fraction:
    distances = Counter(later - earlier for earlier, later in pairwise(times) if later > earlier)
    votes = Counter[Fraction]()
    total = Counter[Fraction]()
    for distance, count in distances.items():
        rate = _nearest_standard(1 / (distance * tick_s))
        votes[rate] += count
        total[rate] += distance * count
    winner = max(votes, key=lambda rate: (votes[rate], rate), default=_STANDARD_FPS[0])
    if winner not in _NTSC_BASES:
        return winner
    mean = votes[winner] / (total[winner] * tick_s)
    return min(winner, winner * _NTSC, key=lambda rate: abs(rate - mean))


def _nearest_standard(rate: Fraction) -> Fraction:
    """Returns the standard rate with the nearest ratio: 20 is as near to 10 as 40 is."""
    return min(_STANDARD_FPS, key=lambda standard: max(standard / rate, rate / standard))
