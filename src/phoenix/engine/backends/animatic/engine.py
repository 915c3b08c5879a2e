"""The animatic engine: reports steps like a model, then draws the frames one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sin, tau

import numpy as np
from PIL import Image, ImageDraw

from phoenix.contract import ResolvedClip
from phoenix.engine.backends.animatic import caption, scenery
from phoenix.engine.backends.animatic.puppet import PuppetFace, face_of, paint_puppet
from phoenix.engine.backends.animatic.scene import Scene, Weather, read_scene
from phoenix.engine.conditions.pictures import open_condition_picture
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderObserver
from phoenix.engine.previews import PreviewThrottle, preview_size, to_jpeg
from phoenix.engine.stop_token import StopToken
from phoenix.errors import Stage

PARTICLES = {Weather.CLEAR: 0, Weather.MOTES: 26, Weather.RAIN: 150, Weather.SNOW: 110}


def draw_frames(clip: ResolvedClip, scene: Scene, stop: StopToken, first: Image.Image | None = None) -> Iterator[bytes]:
    """Yields exactly `num_frames` frames in rgb24. Paints the layers before the first frame.

    `first`: the picture that the clip begins with, in the size of the clip. It dissolves in the first half.
    """
    layers = SceneLayers(clip, scene, first, face_of(clip))
    for number in range(clip.num_frames):
        stop.check()
        yield layers.draw(number)


@dataclass(frozen=True)
class _Particle:
    """The start of a particle in fractions of the frame, and its depth from 0 to 1, which scales speed and size."""

    x: float
    y: float
    depth: float


class SceneLayers:
    """The layers of one clip. Composes them for each frame."""

    def __init__(
        self, clip: ResolvedClip, scene: Scene, first: Image.Image | None = None, face: PuppetFace | None = None
    ) -> None:
        width, height = clip.width, clip.height
        self._clip, self._scene, self._first = clip, scene, first
        self._sky = scenery.paint_sky(scene, width, height)
        self._disc = scenery.paint_disc(scene, round(min(width, height) * 0.85))
        self._clouds = scenery.paint_clouds(scene, width, height)
        self._ridges = scenery.paint_ridges(scene, width, height)
        prompt_overlay = caption.paint_caption(clip)
        self._vignette = scenery.paint_vignette(width, height, caption_top_px=prompt_overlay.top_px)
        self._overlays = (prompt_overlay, caption.paint_label(clip))
        self._puppet = face and paint_puppet(face, width, height, clip.seed)
        self._particles = _scatter(scene)

    def draw(self, number: int) -> bytes:
        """Returns frame `number` (from 0): `height * width * 3` bytes of rgb24."""
        now_s = number / self._clip.fps
        frame = self._sky.copy()
        self._place_disc(frame, number)
        for strip in (self._clouds, *self._ridges):
            self._place_strip(frame, strip, now_s)
        self._place_particles(frame, now_s)
        frame.paste((0, 0, 0), (0, 0), self._vignette)
        for overlay in self._overlays:
            frame.paste(overlay.picture, (overlay.left_px, overlay.top_px), overlay.picture)
        frame = self._dissolve(frame, number)
        if self._puppet is not None:
            frame.paste(self._puppet.picture, (self._puppet.left_px, self._puppet.top_px), self._puppet.picture)
        self._place_progress(frame, number)
        return frame.tobytes()

    def _dissolve(self, frame: Image.Image, number: int) -> Image.Image:
        """Shows the first picture alone in the first frame, and no longer in the second half of the clip."""
        share = 1 - 2 * number / self._clip.num_frames
        return frame if self._first is None or share <= 0 else Image.blend(frame, self._first, share)

    def _place_disc(self, frame: Image.Image, number: int) -> None:
        """Moves the disc up by a tenth of the height during the clip, for any length of the clip."""
        part = number / max(1, self._clip.num_frames - 1)
        x = round(self._scene.disc_x * frame.width - self._disc.width / 2)
        y = round((0.40 - 0.10 * part) * frame.height - self._disc.height / 2)
        frame.paste(self._disc, (x, y), self._disc)

    def _place_strip(self, frame: Image.Image, strip: scenery.Strip, now_s: float) -> None:
        offset = round(self._scene.drift * strip.speed * frame.width * now_s) % strip.period_px
        window = (offset, 0, offset + frame.width, strip.mask.height)
        frame.paste(strip.colours.crop(window), (0, strip.top_px), strip.mask.crop(window))

    def _place_particles(self, frame: Image.Image, now_s: float) -> None:
        draw = ImageDraw.Draw(frame, "RGBA")
        for particle in self._particles:
            _PARTICLE_PAINTERS[self._scene.weather](draw, particle, now_s, frame.size)

    def _place_progress(self, frame: Image.Image, number: int) -> None:
        """Draws a thin line along the bottom, which shows the position of this frame in the clip."""
        tall = max(1, frame.height // 160)
        done = round((number + 1) / self._clip.num_frames * frame.width)
        frame.paste(self._scene.palette.disc, (0, frame.height - tall, done, frame.height))


def _scatter(scene: Scene) -> tuple[_Particle, ...]:
    random = np.random.default_rng(scene.noise + 2)
    places = random.random((PARTICLES[scene.weather], 3))
    return tuple(_Particle(float(x), float(y), float(depth)) for x, y, depth in places)


def _paint_mote(draw: ImageDraw.ImageDraw, particle: _Particle, now_s: float, size: tuple[int, int]) -> None:
    width, height = size
    x = (particle.x + 0.02 * sin(tau * (0.11 * now_s + particle.depth))) % 1 * width
    y = (particle.y - 0.03 * (0.3 + particle.depth) * now_s) % 1 * height
    radius = (0.0016 + 0.0032 * particle.depth) * min(size)
    light = round(70 + 70 * sin(tau * (0.3 * now_s + particle.x)))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 246, 214, light))


def _paint_flake(draw: ImageDraw.ImageDraw, particle: _Particle, now_s: float, size: tuple[int, int]) -> None:
    width, height = size
    x = (particle.x + 0.03 * sin(tau * (0.2 * now_s + particle.depth))) % 1 * width
    y = (particle.y + (0.08 + 0.16 * particle.depth) * now_s) % 1 * height
    radius = (0.0015 + 0.004 * particle.depth) * min(size)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 255, 255, 190))


def _paint_drop(draw: ImageDraw.ImageDraw, particle: _Particle, now_s: float, size: tuple[int, int]) -> None:
    width, height = size
    y = (particle.y + (1.1 + 0.8 * particle.depth) * now_s) % 1.1 * height
    x = (particle.x - 0.12 * y / height) % 1 * width
    long = (0.02 + 0.03 * particle.depth) * height
    draw.line((x, y, x - long * 0.12, y + long), fill=(210, 226, 255, 90), width=max(1, height // 480))


_PARTICLE_PAINTERS = {
    Weather.CLEAR: _paint_mote,
    Weather.MOTES: _paint_mote,
    Weather.SNOW: _paint_flake,
    Weather.RAIN: _paint_drop,
}


class AnimaticEngine:
    """Draws storyboards. Deterministic: the same clip and the same fonts give the same bytes, at every speed."""

    def __init__(self, *, seconds_per_step: float = 0, preview_interval_s: float = 0) -> None:
        self._seconds_per_step = seconds_per_step
        self._preview_interval_s = preview_interval_s

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Returns frames that are drawn lazily. Raises `RenderStopped` when asked to stop."""
        clip, condition = inputs.clip, inputs.find("first_frame")
        first = condition and open_condition_picture(condition.path, clip)
        scene = read_scene(clip.prompt, clip.seed)
        throttle = PreviewThrottle(self._preview_interval_s)
        observer.on_stage(Stage.DENOISE)
        for step in range(1, clip.steps + 1):
            observer.stop.wait(self._seconds_per_step)
            observer.on_step(step, clip.steps)
            if throttle.is_due():
                observer.on_preview(_sketch(clip, scene, first, share=step / clip.steps))
        observer.on_stage(Stage.DECODE)
        return RenderedClip(
            frames=draw_frames(clip, scene, observer.stop, first),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            num_frames=clip.num_frames,
        )

    def loaded_models(self) -> tuple[str, ...]:
        """Returns the one model, which needs no load."""
        return ("animatic",)

    def close(self) -> None:
        """Does nothing: the engine has nothing to release."""


def _sketch(clip: ResolvedClip, scene: Scene, first: Image.Image | None, *, share: float) -> bytes:
    """Returns a small JPEG of the frame at this fraction of the clip."""
    width, height = preview_size(clip.width, clip.height)
    small = clip.model_copy(update={"width": width, "height": height})
    layers = SceneLayers(small, scene, first and first.resize((width, height)), face_of(clip))
    frame = layers.draw(round(share * (clip.num_frames - 1)))
    return to_jpeg(Image.frombytes("RGB", (width, height), frame))
