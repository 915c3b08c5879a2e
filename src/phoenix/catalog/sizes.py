"""Converts a resolution and an aspect ratio to a size that a model can make. Pure arithmetic."""

from fractions import Fraction
from typing import NamedTuple

from phoenix.catalog.model import SizeRule
from phoenix.contract.base import AspectRatio, Resolution


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def ideal_size(resolution: Resolution, aspect_ratio: AspectRatio) -> tuple[Fraction, Fraction]:
    """Width and height as asked for: the shorter side has `resolution` pixels; not rounded."""
    short = Fraction(resolution.removesuffix("p"))
    wide, high = (Fraction(part) for part in aspect_ratio.split(":"))
    return (short * wide / high, short) if wide >= high else (short, short * high / wide)


def fit_size(rule: SizeRule, resolution: Resolution, aspect_ratio: AspectRatio) -> Size:
    """The size the model was trained at for this pair, or else both sides rounded to the rule's multiple."""
    if exact := rule.exact.get(f"{resolution} {aspect_ratio}"):
        return Size(*exact)
    width, height = ideal_size(resolution, aspect_ratio)
    return Size(_round_to(width, rule.multiple), _round_to(height, rule.multiple))


def is_visibly_rounded(size: Size, resolution: Resolution, aspect_ratio: AspectRatio) -> bool:
    """Whether a side is off by two pixels or more: 480p means 854x480 to everyone, not 832x480."""
    width, height = ideal_size(resolution, aspect_ratio)
    return abs(size.width - width) >= 2 or abs(size.height - height) >= 2


def _round_to(side_px: Fraction, multiple: int) -> int:
    return max(multiple, int(side_px / multiple + Fraction(1, 2)) * multiple)
