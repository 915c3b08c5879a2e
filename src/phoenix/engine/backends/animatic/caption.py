"""Paints the text of a storyboard once per clip: the prompt at the bottom, and a `draft` label at the top."""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

from phoenix.contract import ResolvedClip
from phoenix.engine.backends.animatic.lettering import Font, WrappedText, clean_text, wrap_text

INK = (255, 255, 255, 255)
SHADOW = (0, 0, 0, 200)


@dataclass(frozen=True)
class Overlay:
    """An RGBA picture, and the position of its upper left corner in the frame, in pixels."""

    picture: Image.Image
    left_px: int
    top_px: int


def paint_caption(clip: ResolvedClip) -> Overlay:
    """Paints the prompt at the bottom of the frame, as large as it fits in the lower two fifths."""
    short = min(clip.width, clip.height)
    margin = round(short * 0.06)
    text = wrap_text(
        clean_text(clip.prompt) or "(a prompt without letters)",
        width_px=clip.width - 2 * margin,
        height_px=round(clip.height * 0.36),
        largest_px=max(10, round(short * 0.072)),
        smallest_px=max(8, round(short * 0.03)),
    )
    picture = _write(text, clip.width - 2 * margin)
    return Overlay(picture, margin, clip.height - picture.height - round(margin * 1.3))


def paint_label(clip: ResolvedClip) -> Overlay:
    """Paints a label at the top of the frame: `animatic draft · clip 3 · seed 7`."""
    short = min(clip.width, clip.height)
    size_px = max(8, round(short * 0.032))
    margin, pad = round(short * 0.04), max(2, round(size_px * 0.55))
    label = wrap_text(
        f"animatic draft  ·  clip {clip.index + 1}  ·  seed {clip.seed}",
        width_px=max(1, clip.width - 2 * (margin + pad)),
        height_px=size_px * 2,
        largest_px=size_px,
        smallest_px=6,
    )
    wide = min(clip.width - 2 * margin, round(_width(label)) + 2 * pad)
    tall = label.line_height_px * len(label.lines) + pad
    picture = Image.new("RGBA", (max(1, wide), tall), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, picture.width - 1, tall - 1), radius=tall / 2, fill=(0, 0, 0, 120))
    _draw_lines(draw, label, left_px=pad, top_px=pad // 2, fill=(255, 255, 255, 225))
    return Overlay(picture, margin, margin)


def _width(text: WrappedText) -> float:
    return max(text.font.getlength(line) for line in text.lines)


def _write(text: WrappedText, width_px: int) -> Image.Image:
    """Paints white letters over a blurred shadow, which are legible on any sky."""
    size = (max(1, width_px), text.line_height_px * len(text.lines) + text.line_height_px // 4)
    shadow = Image.new("RGBA", size, (0, 0, 0, 0))
    _draw_lines(ImageDraw.Draw(shadow), text, left_px=0, top_px=2, fill=SHADOW)
    picture = shadow.filter(ImageFilter.GaussianBlur(text.line_height_px / 14))
    _draw_lines(ImageDraw.Draw(picture), text, left_px=0, top_px=0, fill=INK)
    return picture


def _draw_lines(
    draw: ImageDraw.ImageDraw, text: WrappedText, *, left_px: int, top_px: int, fill: tuple[int, int, int, int]
) -> None:
    font: Font = text.font
    for number, line in enumerate(text.lines):
        draw.text((left_px, top_px + number * text.line_height_px), line, font=font, fill=fill)
