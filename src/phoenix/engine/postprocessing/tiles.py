"""Divides a frame into tiles that overlap, and says how much of each pixel comes from which tile. Pure."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TileSpan:
    """The pixels `start` to `end` (exclusive) of one side of a frame."""

    start: int
    end: int
    weights: Weights
    """For each pixel of the result, the share that this span has in it. The shares of all spans sum up to 1."""


def plan_spans(
    length: int, *, tile: int, overlap: int, multiple: int = 1, factor: int = 1, is_fixed: bool = False
) -> tuple[TileSpan, ...]:
    """Divides `length` pixels into spans of one length, at most `tile` rounded up to `multiple`.

    Each span reaches `overlap` pixels beyond its own part. Of these, the outer half is left out, because a model sees
    too little around it, and the inner half blends into the next span. A model in whose result each pixel depends on
    pixels at most half of `overlap` away makes the same picture as without tiles. With `is_fixed`, no span is shorter
    than `tile`, unless `length` is. `tile` is at least four times `overlap`.
    """
    count = 1 if length <= tile else math.ceil(length / (tile - 2 * overlap))
    borders = [round(number * length / count) for number in range(count + 1)]
    widest = max(end - start for start, end in pairwise(borders))
    size = min(length, tile if is_fixed else round_up(widest + 2 * overlap, multiple))
    spans: list[TileSpan] = []
    for number in range(count):
        start = min(max(0, borders[number] - overlap), length - size)
        at = ((np.arange(start * factor, (start + size) * factor) + 0.5) / factor).astype(np.float32)
        weights = np.ones(size * factor, np.float32)
        if number > 0:
            weights *= _rise(at, borders[number], overlap // 2)
        if number < count - 1:
            weights *= 1 - _rise(at, borders[number + 1], overlap // 2)
        spans.append(TileSpan(start, start + size, weights))
    return tuple(spans)


def round_up(pixels: int, multiple: int) -> int:
    """Returns the smallest multiple that is at least `pixels`."""
    return -(-pixels // multiple) * multiple


def _rise(at: Weights, border: int, reach: int) -> Weights:
    """Grows from 0 to 1 around the border, from `reach` pixels before it to `reach` pixels after it."""
    if reach == 0:
        return (at >= border).astype(np.float32)
    return np.clip((at - (border - reach)) / (2 * reach), 0, 1, dtype=np.float32)
