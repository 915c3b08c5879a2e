"""Paints the layers of a storyboard once per clip. Strips are periodic, so that they can scroll without end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from phoenix.engine.backends.animatic.scene import Colour, Ground, Hour, Scene, mix

Heights = NDArray[np.float64]
"""Heights of a ridge above the foot of its layer, one per column, in fractions of the frame height."""

RIDGES = 4
STARS_PER_MEGAPIXEL = 420


@dataclass(frozen=True)
class Strip:
    """A picture that is one frame wider than its period, and its mask."""

    colours: Image.Image
    mask: Image.Image
    period_px: int
    top_px: int
    speed: float
    """Frame widths per second. The drift of the scene sets the direction."""


def paint_sky(scene: Scene, width: int, height: int) -> Image.Image:
    """Paints a gradient of three colours, dithered against banding, with stars at night."""
    palette = scene.palette
    stops = np.array([palette.sky_top, mix(palette.sky_top, palette.sky_low, 0.45), palette.sky_low], float)
    rows = np.linspace(0, 1, height)
    column = np.stack([np.interp(rows, (0, 0.45, 0.8), stops[:, part]) for part in range(3)], axis=1)
    random = np.random.default_rng(scene.noise)
    dither = random.random((height, width, 1)) - 0.5
    sky = Image.fromarray(np.clip(column[:, None, :] + dither * 2.5, 0, 255).astype(np.uint8))
    if scene.hour is Hour.NIGHT:
        _scatter_stars(sky, random)
    return sky


def paint_disc(scene: Scene, side_px: int) -> Image.Image:
    """Paints sun or moon with a glow: an RGBA square of about `side_px`."""
    axis = np.linspace(-1, 1, max(8, side_px))
    distance = np.hypot(*np.meshgrid(axis, axis))
    glow = np.clip(1 - distance, 0, 1) ** 2.2 * 0.62
    body = np.clip((0.2 - distance) * side_px / 4, 0, 1)
    alpha = np.clip(np.maximum(glow, body) * 255, 0, 255).astype(np.uint8)
    disc = Image.new("RGBA", (len(axis), len(axis)), (*scene.palette.disc, 0))
    disc.putalpha(Image.fromarray(alpha))
    return disc


def paint_clouds(scene: Scene, width: int, height: int) -> Strip:
    """Paints soft clouds over the upper half, lighter than the sky."""
    random = np.random.default_rng(scene.noise + 1)
    period, tall = width * 2, max(8, height // 2)
    mask = Image.new("L", (period, tall), 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(16):
        x, y = random.uniform(0, period), random.uniform(0.1, 0.85) * tall
        half_wide, half_tall = random.uniform(0.10, 0.34) * width, random.uniform(0.015, 0.05) * tall
        for shift in (-period, 0, period):
            draw.ellipse((x + shift - half_wide, y - half_tall, x + shift + half_wide, y + half_tall), fill=110)
    mask = mask.filter(ImageFilter.GaussianBlur(tall / 26))
    colour = mix(scene.palette.sky_low, (255, 255, 255), 0.1 if scene.hour is Hour.NIGHT else 0.55)
    return _strip(Image.new("RGB", mask.size, colour), mask, width, top_px=0, speed=0.012)


def paint_ridges(scene: Scene, width: int, height: int) -> list[Strip]:
    """Paints the ground in layers from far to near: nearer layers are darker, lower and faster."""
    strips: list[Strip] = []
    for layer in range(RIDGES):
        nearness = layer / (RIDGES - 1)
        random = np.random.default_rng(scene.noise + 10 + layer)
        heights = _ridge_heights(scene.ground, nearness, width * 2, width / height, random)
        foot = 0.62 + 0.30 * nearness
        top = foot - float(heights.max())
        colour = mix(scene.palette.far, scene.palette.near, nearness**0.8)
        colours, mask = _fill_below(heights, foot, top, height, colour, scene.palette.sky_low)
        if scene.ground is Ground.CITY and layer and scene.hour in (Hour.NIGHT, Hour.DUSK):
            _light_windows(colours, scene.palette.disc, random)
        strips.append(_strip(colours, mask, width, top_px=int(top * height), speed=0.02 + 0.11 * nearness**1.6))
    return strips


def paint_vignette(width: int, height: int, *, caption_top_px: int) -> Image.Image:
    """Paints a mask for black, which darkens the corners and the background of the caption."""
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    corners = np.clip(np.hypot(across, down) - 0.62, 0, 1) ** 1.7 * 120
    ground = np.clip((down - 0.02) / 0.98, 0, 1) ** 1.25 * 190
    caption_top = caption_top_px / height * 2 - 1
    caption = np.clip((down - caption_top) / 0.16 + 0.8, 0, 1) * 105
    darkest = np.maximum(np.maximum(corners, ground), caption)
    return Image.fromarray(np.clip(darkest, 0, 255).astype(np.uint8))


def _scatter_stars(sky: Image.Image, random: np.random.Generator) -> None:
    draw = ImageDraw.Draw(sky)
    for _ in range(sky.width * sky.height * STARS_PER_MEGAPIXEL // 1_000_000):
        x, y = random.uniform(0, sky.width), random.uniform(0, 0.7) ** 1.3 * sky.height
        light = int(random.uniform(90, 255))
        radius = random.uniform(0.2, 1.0) * sky.height / 700
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(light, light, min(255, light + 20)))


def _ridge_heights(
    ground: Ground, nearness: float, columns: int, aspect: float, random: np.random.Generator
) -> Heights:
    x = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    match ground:
        case Ground.CITY:
            return _skyline(columns, nearness, random)
        case Ground.FOREST:
            return _waves(x, random, (1, 2, 3), 0.06) + _treetops(columns, nearness, aspect, random)
        case Ground.MOUNTAINS:
            jagged = _waves(x, random, (2, 3, 5, 9, 17, 31, 63), 0.20 - 0.10 * nearness)
            return np.abs(jagged - jagged.mean()) * 1.5 + 0.04
        case Ground.SEA:
            swell = _waves(x, random, (5, 8, 13, 21), 0.004 + 0.012 * nearness)
            return swell + 0.01
        case Ground.HILLS:
            return _waves(x, random, (1, 2, 3, 5), 0.15 - 0.05 * nearness)


def _waves(x: Heights, random: np.random.Generator, tones: tuple[int, ...], swing: float) -> Heights:
    """Returns a periodic sum of whole waves, with values between 0 and about `swing`."""
    total = np.zeros_like(x)
    for tone in tones:
        total += np.sin(x * tone + random.uniform(0, 2 * np.pi)) / tone**0.9
    spread = float(total.max() - total.min()) or 1.0
    return (total - total.min()) / spread * swing


def _skyline(columns: int, nearness: float, random: np.random.Generator) -> Heights:
    heights = np.full(columns, 0.02)
    at = 0
    while at < columns:
        wide = max(3, int(columns * random.uniform(0.012, 0.035) * (0.6 + nearness)))
        heights[at : at + wide] = random.uniform(0.05, 0.34 - 0.12 * nearness)
        at += wide
    return heights


def _treetops(columns: int, nearness: float, aspect: float, random: np.random.Generator) -> Heights:
    heights = np.zeros(columns)
    spacing = max(3, int(columns * (0.008 + 0.014 * nearness)))
    for middle in range(0, columns, spacing):
        tall = random.uniform(0.05, 0.10) * (0.7 + 1.3 * nearness)
        half = max(2, int(tall * columns / (aspect * 2) * 0.22))
        reach = np.arange(-half, half + 1)
        cone = tall * (1 - np.abs(reach) / half)
        where = (middle + reach) % columns
        heights[where] = np.maximum(heights[where], cone)
    return heights


def _fill_below(
    heights: Heights, foot: float, top: float, height: int, colour: Colour, haze: Colour
) -> tuple[Image.Image, Image.Image]:
    """Paints the area under the ridge line, antialiased at the top, with more haze towards the foot of the layer."""
    rows = np.arange(int(top * height), height)[:, None]
    line = (foot - heights)[None, :] * height
    mask = np.clip((rows - line + 1) * 255, 0, 255).astype(np.uint8)
    depth = np.clip((rows / height - top) / max(0.05, 1 - top), 0, 1)
    share = depth[..., None] * 0.30
    shaded = np.array(colour, float) * (1 - share) + np.array(haze, float) * share
    colours = np.broadcast_to(shaded, (*mask.shape, 3)).astype(np.uint8)
    return Image.fromarray(colours), Image.fromarray(mask)


def _light_windows(colours: Image.Image, light: Colour, random: np.random.Generator) -> None:
    pitch = max(4, colours.height // 42)
    draw = ImageDraw.Draw(colours)
    pane = max(1, pitch // 3)
    for y in range(pitch, colours.height, pitch):
        for x in range(0, colours.width, pitch):
            if random.random() < 0.24:
                draw.rectangle((x, y, x + pane, y + pane), fill=mix(light, (255, 190, 90), random.random()))


def _strip(colours: Image.Image, mask: Image.Image, width: int, *, top_px: int, speed: float) -> Strip:
    """Repeats one frame width at the end, so that every offset within the period can be cropped."""
    period = mask.width
    return Strip(_extend(colours, width), _extend(mask, width), period, top_px, speed)


def _extend(picture: Image.Image, width: int) -> Image.Image:
    wider = Image.new(picture.mode, (picture.width + width, picture.height))
    wider.paste(picture, (0, 0))
    wider.paste(picture.crop((0, 0, width, picture.height)), (picture.width, 0))
    return wider
