"""Where the time of a sampled process went, from its collapsed stacks. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TOP = 40
_OUTER_SHARE = 0.75
"""Functions that only call others, and are on more stacks than this, say nothing: every program has them."""


@dataclass(frozen=True)
class Frame:
    """A function, with the share of all samples in which it was on the stack, and in which it was the innermost."""

    name: str
    total_share: float
    own_share: float


def top_frames(stacks: str) -> list[Frame]:
    """The functions of collapsed stacks (`outer;inner 12` per line), those with the largest total first."""
    total, own = Counter[str](), Counter[str]()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    samples = max(own.total(), 1)
    return [Frame(name, count / samples, own[name] / samples) for name, count in total.most_common()]


def _without_line(frame: str) -> str:
    """`run (a/b.py:12)` as `run (a/b.py)`: all lines of a function count together."""
    name, colon, line = frame.rpartition(":")
    return f"{name})" if colon and line.rstrip(")").isdecimal() else frame


def top_list(frames: Sequence[Frame]) -> str:
    shown = [frame for frame in frames if frame.total_share < _OUTER_SHARE or frame.own_share > 0]
    return "\n".join(f"{frame.total_share:7.1%} {frame.own_share:7.1%}  {frame.name}" for frame in shown[:TOP])
