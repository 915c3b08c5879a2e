"""Paints the puppet of a clip whose lips move: a face with closed lips, over which a lip model works."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from phoenix.contract import ResolvedClip
from phoenix.engine.backends.animatic.caption import Overlay

_SKINS = ((241, 204, 178), (224, 178, 146), (186, 132, 98), (133, 88, 62))
_HAIRS = ((52, 36, 28), (104, 66, 38), (196, 152, 84), (40, 40, 48))
_FINER = 4
"""The puppet is painted so many times as large and then made smaller, which makes its edges smooth."""
_AROUND = 0.14
"""How far hair and ears stand out of the face, as a share of its sides."""


@dataclass(frozen=True)
class PuppetFace:
    """Where the face is: shares of the width and the height of a frame, so that a preview has it too."""

    left: float
    top: float
    width: float
    height: float


def face_of(clip: ResolvedClip) -> PuppetFace | None:
    """Returns where the puppet of the clip has its face. None for a clip without one."""
    box = clip.lip_sync and clip.lip_sync.box
    if not box:
        return None
    width, height = clip.output_size
    return PuppetFace(box.x / width, box.y / height, box.width / width, box.height / height)


def paint_puppet(face: PuppetFace, width: int, height: int, seed: int) -> Overlay:
    """Paints the puppet for frames of this size. Each seed has a skin and a hair of its own."""
    left, wide = face.left * width, face.width * width
    top, tall = face.top * height, face.height * height
    skin, hair = _SKINS[seed % len(_SKINS)], _HAIRS[seed // len(_SKINS) % len(_HAIRS)]
    size = max(1, round(wide * (1 + 2 * _AROUND))), max(1, round(tall * (1 + _AROUND)))
    large = Image.new("RGBA", (size[0] * _FINER, size[1] * _FINER), (*skin, 0))
    _paint(_Easel(ImageDraw.Draw(large), *large.size), skin, hair)
    return Overlay(
        large.resize(size, Image.Resampling.LANCZOS), round(left - wide * _AROUND), round(top - tall * _AROUND)
    )


@dataclass(frozen=True)
class _Easel:
    """Takes shares of the face: from its left and its top, 1 at its right and its bottom."""

    draw: ImageDraw.ImageDraw
    width: int
    height: int

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, fill: tuple[int, int, int]) -> None:
        box = (*self._place(x - half_width, y - half_height), *self._place(x + half_width, y + half_height))
        self.draw.ellipse(box, fill=(*fill, 255))

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across, down = self.width / (1 + 2 * _AROUND), self.height / (1 + _AROUND)
        return (x + _AROUND) * across, (y + _AROUND) * down


def _paint(easel: _Easel, skin: tuple[int, int, int], hair: tuple[int, int, int]) -> None:
    darker = tuple(round(level * 0.86) for level in skin)
    shade = (darker[0], darker[1], darker[2])
    easel.ellipse(0.5, 0.4, 0.6, 0.52, hair)
    for x in (0.0, 1.0):
        easel.ellipse(x, 0.5, 0.09, 0.11, shade)
    easel.ellipse(0.5, 0.53, 0.5, 0.47, skin)
    easel.ellipse(0.5, 0.12, 0.36, 0.11, hair)
    for x in (0.31, 0.69):
        easel.ellipse(x, 0.33, 0.1, 0.014, hair)
        easel.ellipse(x, 0.42, 0.085, 0.05, (250, 250, 250))
        easel.ellipse(x, 0.42, 0.038, 0.04, (46, 40, 44))
    easel.ellipse(0.5, 0.57, 0.05, 0.03, shade)
    easel.ellipse(0.5, 0.72, 0.13, 0.016, (176, 72, 84))
