"""Derives a scene from the prompt and the seed: hour, ground, weather and colours. Draws nothing."""

import hashlib
import re
from colorsys import hls_to_rgb, rgb_to_hls
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TypeVar

_Choice = TypeVar("_Choice", bound=StrEnum)

Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""


class Hour(StrEnum):
    DAWN = "dawn"
    DAY = "day"
    DUSK = "dusk"
    NIGHT = "night"


class Ground(StrEnum):
    HILLS = "hills"
    MOUNTAINS = "mountains"
    FOREST = "forest"
    CITY = "city"
    SEA = "sea"


class Weather(StrEnum):
    CLEAR = "clear"
    RAIN = "rain"
    SNOW = "snow"
    MOTES = "motes"


@dataclass(frozen=True)
class Palette:
    sky_top: Colour
    sky_low: Colour
    disc: Colour
    far: Colour
    near: Colour


@dataclass(frozen=True)
class Scene:
    """Everything that the painter needs. `noise` seeds the shapes; `disc_x` is a fraction of the width."""

    hour: Hour
    ground: Ground
    weather: Weather
    palette: Palette
    drift: int
    disc_x: float
    noise: int


PALETTES = {
    Hour.DAWN: Palette((74, 88, 150), (255, 188, 150), (255, 236, 205), (176, 142, 168), (46, 38, 66)),
    Hour.DAY: Palette((52, 120, 196), (190, 224, 240), (255, 250, 228), (134, 172, 186), (28, 62, 66)),
    Hour.DUSK: Palette((44, 34, 86), (244, 122, 84), (255, 214, 150), (140, 84, 118), (30, 20, 46)),
    Hour.NIGHT: Palette((8, 12, 34), (44, 62, 110), (236, 240, 255), (38, 52, 92), (8, 12, 26)),
}

HOUR_WORDS = {
    Hour.DAWN: "dawn sunrise morning daybreak misty fog",
    Hour.DAY: "day noon midday sunny daylight afternoon summer beach",
    Hour.DUSK: "dusk sunset evening twilight golden desert",
    Hour.NIGHT: "night midnight moon moonlit stars starry neon dark cyberpunk space galaxy",
}
GROUND_WORDS = {
    Ground.MOUNTAINS: "mountain mountains alps peak peaks summit cliff volcano canyon snowy",
    Ground.FOREST: "forest woods tree trees jungle pine fox deer bear",
    Ground.CITY: "city street streets town skyline tokyo york london paris neon building buildings traffic car",
    Ground.SEA: "sea ocean harbour harbor beach waves wave boat ship lake river underwater whale lighthouse coast",
    Ground.HILLS: "hill hills meadow field grass desert dunes garden farm countryside",
}
WEATHER_WORDS = {
    Weather.RAIN: "rain rainy storm stormy thunderstorm monsoon",
    Weather.SNOW: "snow snowing snowfall snowy blizzard winter ice",
}


def read_scene(prompt: str, seed: int) -> Scene:
    """Returns the scene. The same prompt and seed give the same scene in every process and on every machine."""
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode("utf-8", "replace")).digest()
    random = Random(int.from_bytes(digest[:8]))
    words = re.findall(r"[a-z]+", prompt.lower())
    hour = _first_named(HOUR_WORDS, words) or random.choice(list(Hour))
    return Scene(
        hour=hour,
        ground=_first_named(GROUND_WORDS, words) or random.choice(list(Ground)),
        weather=_first_named(WEATHER_WORDS, words) or random.choice((Weather.CLEAR, Weather.MOTES)),
        palette=_turn_palette(PALETTES[hour], turn=random.uniform(-0.05, 0.05)),
        drift=random.choice((-1, 1)),
        disc_x=random.uniform(0.22, 0.78),
        noise=int.from_bytes(digest[8:16]),
    )


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Mixes two colours: `share` 0 returns `one`, 1 returns `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _first_named(lexicon: dict[_Choice, str], words: list[str]) -> _Choice | None:
    named = {word: choice for choice, listed in lexicon.items() for word in listed.split()}
    return next((named[word] for word in words if word in named), None)


def _turn_palette(palette: Palette, *, turn: float) -> Palette:
    return Palette(
        sky_top=_turn_hue(palette.sky_top, turn),
        sky_low=_turn_hue(palette.sky_low, turn),
        disc=palette.disc,
        far=_turn_hue(palette.far, turn),
        near=_turn_hue(palette.near, turn),
    )


def _turn_hue(colour: Colour, turn: float) -> Colour:
    hue, light, saturation = rgb_to_hls(*(part / 255 for part in colour))
    red, green, blue = (round(part * 255) for part in hls_to_rgb((hue + turn) % 1, light, saturation))
    return red, green, blue
