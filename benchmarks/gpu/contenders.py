"""Three ways to make the same clips into files: diffusers, diffusers and then ffmpeg, and the service's own way."""

import queue
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.interface import ClipInputs, NullObserver, RenderedClip
from phoenix.engine.registry import EngineRegistry
from phoenix.media.commands.video import Picture
from phoenix.media.encode import encode_frames
from phoenix.media.ffmpeg import MediaTools


class BareLoop:
    """What a script would do: one pipeline, one call after the other, frames as numpy arrays."""

    def __init__(self, spec: ModelSpec, device: str) -> None:
        dtypes = {"default": getattr(torch, spec.dtype), "vae": torch.float32}
        self._pipeline = WanPipeline.from_pretrained(spec.source, dtype=dtypes).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._max_length = spec.options["max_sequence_length"]

    def render(self, clip: ResolvedClip) -> Any:
        """`[frames, height, width, 3]` of uint8."""
        video = self._pipeline(
            prompt=clip.prompt,
            width=clip.width,
            height=clip.height,
            num_frames=clip.num_frames,
            num_inference_steps=clip.steps,
            guidance_scale=clip.guidance_scale,
            max_sequence_length=self._max_length,
            generator=torch.Generator("cpu").manual_seed(clip.seed),
            output_type="np",
        ).frames[0]
        return (video * 255).round().astype("uint8")

    def generate(self, clips: Sequence[ResolvedClip]) -> None:
        for clip in clips:
            self.render(clip)

    def generate_then_encode(self, clips: Sequence[ResolvedClip], folder: Path, tools: MediaTools) -> None:
        for clip in clips:
            frames = [frame.tobytes() for frame in self.render(clip)]
            _encode(frames, clip, folder, tools)


class Service:
    """The worker's path: a slot on the device for each clip, whose encoding overlaps with the next clip's steps."""

    def __init__(self, engines: EngineRegistry, spec: ModelSpec) -> None:
        self._engines, self._spec = engines, spec

    def render(self, clip: ResolvedClip) -> RenderedClip:
        return self._engines.render(ClipInputs(clip, self._spec), NullObserver())

    def generate(self, clips: Sequence[ResolvedClip]) -> None:
        for clip in clips:
            for _ in self.render(clip).frames:
                pass

    def generate_and_encode(self, clips: Sequence[ResolvedClip], folder: Path, tools: MediaTools) -> None:
        """One clip beyond the one on the device, which is the worker's default (`pipeline_depth`)."""
        rendered: queue.Queue[tuple[ResolvedClip, RenderedClip] | None] = queue.Queue(maxsize=1)

        def encode_all() -> None:
            while (item := rendered.get()) is not None:
                _encode(item[1].frames, item[0], folder, tools)

        encoder = threading.Thread(target=encode_all)
        encoder.start()
        for clip in clips:
            rendered.put((clip, self.render(clip)))
        rendered.put(None)
        encoder.join()


def _encode(frames: Any, clip: ResolvedClip, folder: Path, tools: MediaTools) -> None:
    picture = Picture(clip.width, clip.height, Fraction(clip.fps))
    encode_frames(frames, picture, folder / f"{clip.index}.mp4", tools=tools, num_frames=clip.num_frames)
