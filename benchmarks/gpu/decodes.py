"""The memory of decodes by the length of the clip: all at once, as diffusers does it, and in steps of time."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from turns import Figure

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.decoding.frames import to_frames
from phoenix.engine.backends.diffusers.decoding.time_steps import decode_in_steps
from phoenix.engine.backends.diffusers.loading import load_pipeline
from phoenix.engine.stop_token import StopToken

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures.live_bytes import LiveBytes


def decode_peaks(spec: ModelSpec, clips: Sequence[ResolvedClip], device: str) -> Iterator[Figure]:
    """Yields the largest bytes of tensors that are alive at a time, from latents to frames in host memory."""
    vae = load_pipeline(spec, device=device, stop=StopToken()).pipeline.vae
    for clip in clips:
        latents = _latents(vae, clip, device)
        whole = _peak_bytes(device, lambda at=latents: _decode_whole(vae, at))
        stepwise = _peak_bytes(device, lambda at=latents, of=clip: _decode_in_steps(vae, at, of))
        name = f"decode of {clip.num_frames} frames of {clip.width}x{clip.height}"
        yield Figure(f"{name}, at once", whole / 2**20, "MiB")
        yield Figure(
            f"decode of {clip.num_frames} frames of {clip.width}x{clip.height}, in steps of time",
            stepwise / 2**20,
            "MiB",
        )


def _latents(vae: Any, clip: ResolvedClip, device: str) -> torch.Tensor:
    side = vae.spatial_compression_ratio
    shape = (1, vae.config.z_dim, (clip.num_frames - 1) // 4 + 1, clip.height // side, clip.width // side)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(1)).to(device, vae.dtype)


def _decode_whole(vae: Any, latents: torch.Tensor) -> None:
    """What a pipeline does for `output_type="pt"`, and then the conversion to bytes."""
    video = vae.decode(latents, return_dict=False)[0]
    video = torch.stack([(row.permute(1, 0, 2, 3) * 0.5 + 0.5).clamp(0, 1) for row in video])
    video.float().mul(255).round().to(torch.uint8).cpu()


def _decode_in_steps(vae: Any, latents: torch.Tensor, clip: ResolvedClip) -> None:
    for _frames in to_frames(decode_in_steps(vae, latents), clip):
        pass


def _peak_bytes(device: str, run: Callable[[], None]) -> int:
    with torch.no_grad():
        if device == "cpu":
            with LiveBytes() as live:
                run()
            return live.peak
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before_bytes = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before_bytes
