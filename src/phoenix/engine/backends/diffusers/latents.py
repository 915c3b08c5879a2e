"""Pictures from latents without a decoder: a linear map to colours, fitted to the first clip that a model finishes.

Measured with a batch of nine frames: 10 ms to fit, 0.4 ms a frame to apply; the map is 17 x 3 numbers.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from PIL import Image

from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.backends.diffusers.watching import Call
from phoenix.engine.previews import Pace, preview_size, to_jpeg

FRAMES_FIRST = "CogVideoX"
"""Its latents are `[rows, frames, channels, height, width]`; the others have the channels before the frames."""


class ColourMaps:
    """One map per model, kept for the life of the process. Threads may fit the same one; either is good."""

    def __init__(self) -> None:
        self._maps: dict[str, torch.Tensor] = {}

    def find(self, model_id: str) -> torch.Tensor | None:
        return self._maps.get(model_id)

    def learn(self, model_id: str, grid: torch.Tensor, video: torch.Tensor) -> None:
        """From one clip: `[channels, f, h, w]` of latents and the `[frames, 3, height, width]` they became."""
        if model_id not in self._maps:
            self._maps[model_id] = fit(grid, video)


class Previewer:
    """Shows the clips of one call as they come, each at its own pace. Made per call, and dropped with it."""

    def __init__(self, maps: ColourMaps, pipeline: Any, call: Call, *, interval_s: float) -> None:
        self._maps, self._pipeline, self._call = maps, pipeline, call
        self._interval_s = interval_s
        self._pace = Pace(interval_s)
        self._latents: torch.Tensor | None = None

    def show(self, latents: torch.Tensor) -> None:
        self._latents = latents
        colours = self._maps.find(self._call.model.id)
        if colours is None or not self._pace.is_due():
            return
        for row, member in enumerate(self._call.rows):
            grid = to_grid(self._pipeline, latents[row : row + 1], member.clip)
            if grid is not None and not member.is_stopped:
                member.watcher.on_preview(_to_picture(grid, colours, member.clip))

    def learn(self, videos: Sequence[torch.Tensor]) -> None:
        """Once the call's videos, a row each, are there."""
        model_id = self._call.model.id
        if self._interval_s <= 0 or self._latents is None or self._maps.find(model_id) is not None:
            return
        grid = to_grid(self._pipeline, self._latents[:1], self._call.rows[0].clip)
        if grid is not None:
            self._maps.learn(model_id, grid, videos[0])


def to_grid(pipeline: Any, latents: torch.Tensor, clip: ResolvedClip) -> torch.Tensor | None:
    """`[channels, frames, height, width]`, from one row in the shape of that pipeline; None if it is not known."""
    if latents.dim() == 5:
        first = latents[0]
        return first.transpose(0, 1) if pipeline.__class__.__name__.startswith(FRAMES_FIRST) else first
    if latents.dim() != 3 or not hasattr(pipeline, "_unpack_latents"):
        return None
    return pipeline._unpack_latents(
        latents,
        (clip.num_frames - 1) // pipeline.vae_temporal_compression_ratio + 1,
        clip.height // pipeline.vae_spatial_compression_ratio,
        clip.width // pipeline.vae_spatial_compression_ratio,
        pipeline.transformer_spatial_patch_size,
        pipeline.transformer_temporal_patch_size,
    )[0]


def fit(grid: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """The `[channels + 1, 3]` map that comes nearest to the video, by least squares; the last row is a constant."""
    _, frames, height, width = grid.shape
    colours = video.detach().cpu().float().transpose(0, 1).unsqueeze(0)
    targets = torch.nn.functional.adaptive_avg_pool3d(colours, (frames, height, width))[0]
    wanted = targets.permute(1, 2, 3, 0).reshape(-1, 3)
    return cast("Any", torch.linalg).lstsq(_points(grid), wanted, driver="gelsd").solution


def paint(grid: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """The middle frame in colours: `[height, width, 3]` of 0 to 1."""
    middle = grid[:, grid.shape[1] // 2 : grid.shape[1] // 2 + 1]
    _, _, height, width = middle.shape
    return (_points(middle) @ colours).reshape(height, width, 3).clamp(0, 1)


def _points(grid: torch.Tensor) -> torch.Tensor:
    """A row per point of the grid: its channels, and a one for the constant."""
    flat = grid.detach().cpu().float().permute(1, 2, 3, 0).reshape(-1, grid.shape[0])
    return torch.cat([flat, torch.ones(flat.shape[0], 1)], dim=1)


def _to_picture(grid: torch.Tensor, colours: torch.Tensor, clip: ResolvedClip) -> bytes:
    pixels = paint(grid, colours).mul(255).round().to(torch.uint8).numpy()
    picture = Image.fromarray(pixels, "RGB")
    return to_jpeg(picture.resize(preview_size(clip.width, clip.height), Image.Resampling.BICUBIC))
