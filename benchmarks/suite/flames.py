"""Flame graphs: where the time of a profiled process went, as a picture for the documentation.

A box is a function, on top of its caller; its width is its share of the samples. Functions of other packages that call
each other are one box with the name of their package: the graph shows what Phoenix spends, and on whom.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

_WIDTH, _ROW, _MARGIN, _CHARACTER = 1200, 18, 8, 6.4
"""Pixels; the last is the width of a letter."""
_MIN_SHARE = 0.004
"""A narrower box would show no text."""
_IDLE = re.compile(r"^(select|poll|wait|accept|get) \((selectors|threading|queue|socket)\.py\)$")
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(:\d+)?\)$")
_OUR_PACKAGE = "phoenix"
_COLORS: Mapping[str, str] = {
    _OUR_PACKAGE: "#f4a259",
    "sqlalchemy": "#8fb8de",
    "asyncpg": "#8fb8de",
    "redis": "#e58f8f",
    "starlette": "#a8d5a2",
    "fastapi": "#a8d5a2",
    "uvicorn": "#a8d5a2",
    "pydantic": "#c9b1e0",
}
_OTHER_COLOR = "#d9d9d9"


@dataclass
class Box:
    """A function or package, with the samples that it and its callees have."""

    name: str
    package: str
    samples: int = 0
    callees: dict[str, "Box"] = field(default_factory=dict[str, "Box"])


def grow(stacks: str) -> Box:
    """The tree of collapsed stacks (`outer;inner 12` per line), without samples of threads that only waited."""
    root = Box("all", "")
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [each for each in stack.split(";") if each]
        if not frames or _IDLE.match(re.sub(r":\d+\)$", ")", frames[-1])):
            continue
        root.samples += int(count)
        box = root
        for name, package in _without_repeats(_label(frame) for frame in frames):
            box = box.callees.setdefault(name, Box(name, package))
            box.samples += int(count)
    return root


def _label(frame: str) -> tuple[str, str]:
    """What the box of this frame is called, and the package of the frame."""
    found = _FRAME.match(frame)
    package = found["file"].split("/")[0].removesuffix(".py") if found else ""
    if found and package == _OUR_PACKAGE:
        return f"{found['function'].split('.<locals>')[0]} ({found['file'].removeprefix('phoenix/')})", package
    return (package or frame), package


def _without_repeats(labels: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    last = None
    for label in labels:
        if label != last:
            yield label
        last = label


def trunk_end(root: Box) -> Box:
    """The innermost box that nearly all samples pass: what is below it says nothing."""
    box = root
    while box.callees and (largest := max(box.callees.values(), key=lambda each: each.samples)):
        if largest.samples < 0.95 * root.samples:
            break
        box = largest
    return box


def draw(stacks: str, title: str) -> str:
    """The graph as SVG, with the outermost function at the bottom."""
    base = trunk_end(grow(stacks))
    boxes = list(_lay_out(base, 0.0, 0, max(base.samples, 1)))
    rows = max((depth for _, _, _, depth in boxes), default=0) + 1
    height = (rows + 1) * _ROW + 2 * _MARGIN
    drawn = [_draw_box(box, left, share, height - _MARGIN - (depth + 1) * _ROW) for box, left, share, depth in boxes]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="11" role="img" aria-label="{escape(title)}">'
    )
    ground = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    heading = f'<text x="{_MARGIN}" y="{_MARGIN + 10}" font-size="13" fill="#222222">{escape(title)}</text>'
    return "\n".join([head, ground, heading, *drawn, "</svg>\n"])


def _lay_out(box: Box, left: float, depth: int, samples: int) -> Iterator[tuple[Box, float, float, int]]:
    """Each box with its left edge and width, as shares of the picture, and its number from below."""
    share = box.samples / samples
    if share < _MIN_SHARE:
        return
    yield box, left, share, depth
    for callee in sorted(box.callees.values(), key=lambda each: -each.samples):
        yield from _lay_out(callee, left, depth + 1, samples)
        left += callee.samples / samples


def _draw_box(box: Box, left: float, share: float, top: int) -> str:
    inner = _WIDTH - 2 * _MARGIN
    x, width = _MARGIN + left * inner, share * inner
    letters = int((width - 6) / _CHARACTER)
    text = box.name if len(box.name) <= letters else box.name[: max(letters - 1, 0)] + "…"
    shown = f'<text x="{x + 3:.1f}" y="{top + 13}" fill="#222222">{escape(text)}</text>' if letters >= 3 else ""
    return (
        f'<g><title>{escape(box.name)}: {share:.1%}</title><rect x="{x:.1f}" y="{top}" width="{width:.1f}" '
        f'height="{_ROW - 1}" fill="{_COLORS.get(box.package, _OTHER_COLOR)}"/>{shown}</g>'
    )
