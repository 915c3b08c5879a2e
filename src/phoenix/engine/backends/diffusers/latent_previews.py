"""Makes previews from latents without a decoder: with a linear map to colours, fitted to the first clip of a model.

Measured with a batch of nine frames: the fit takes 10 ms, and each frame 0.4 ms. The map has 17 x 3 numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from PIL import Image

from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.step_callbacks import Call
from phoenix.engine.interface import RenderRequest
from phoenix.engine.previews import PreviewThrottle, preview_size, to_jpeg

FRAMES_FIRST = "CogVideoX"
"""Pipelines with latents `[rows, frames, channels, height, width]`. In other pipelines, channels precede frames."""


class ColourMaps:
    """One colour map per model, until the process ends. If two threads fit the map of a model, either map will do."""

    def __init__(self) -> None:
        self._maps: dict[str, torch.Tensor] = {}

    def find(self, model_id: str) -> torch.Tensor | None:
        return self._maps.get(model_id)

    def learn(self, model_id: str, grid: torch.Tensor, video: torch.Tensor) -> None:
        """Fits the map of a model to one clip: latents `[channels, f, h, w]` and video `[frames, 3, height, width]`."""
        if model_id not in self._maps:
            self._maps[model_id] = fit(grid, video)


class Previewer:
    """Sends previews of the clips of one call."""

    def __init__(self, maps: ColourMaps, pipeline: Any, call: Call, *, interval_s: float) -> None:
        self._maps, self._pipeline, self._call = maps, pipeline, call
        self._interval_s = interval_s
        self._throttle = PreviewThrottle(interval_s)
        self._latents: torch.Tensor | None = None
        self._rows: Sequence[RenderRequest] = ()
        self._small: list[torch.Tensor] = []

    def show(self, latents: torch.Tensor) -> None:
        self._latents, self._rows = latents, tuple(self._call.rows)
        colours = self._maps.find(self._call.model.id)
        if colours is None or not self._throttle.is_due():
            return
        for row, request in enumerate(self._rows):
            grid = to_grid(self._pipeline, latents[row : row + 1], request.clip)
            if grid is not None and not request.is_stopped:
                request.observer.on_preview(_to_picture(grid, colours, request.clip))

    def watch(self, request: RenderRequest, chunks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yields the frames of one clip, and keeps a small copy if the model has no map yet.

        They are shrunk on the device, chunk by chunk: the whole video would be gigabytes on its way to the host.
        """
        self._small.clear()
        grid = self._find_grid(request)
        for chunk in chunks:
            if grid is not None:
                self._small.append(shrink(chunk, grid))
            yield chunk

    def learn(self, request: RenderRequest) -> None:
        """Fits the map of the model to the clip that was watched last, whose frames are good."""
        grid = self._find_grid(request)
        if grid is not None and self._small:
            self._maps.learn(self._call.model.id, grid, torch.cat(self._small).cpu())

    def _find_grid(self, request: RenderRequest) -> torch.Tensor | None:
        """Returns the last latents of a clip whose model has no map yet; None if it has one, or if it needs none."""
        has_map = self._maps.find(self._call.model.id) is not None
        if self._interval_s <= 0 or self._latents is None or has_map or request not in self._rows:
            return None
        row = self._rows.index(request)
        return to_grid(self._pipeline, self._latents[row : row + 1], request.clip)


def shrink(video: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Returns the frames in the height and width of the latents: each point is the mean of what it stands for."""
    _, _, height, width = grid.shape
    return torch.nn.functional.adaptive_avg_pool2d(video.detach().float(), (height, width))


def to_grid(pipeline: Any, latents: torch.Tensor, clip: ResolvedClip) -> torch.Tensor | None:
    """Returns one row of latents as `[channels, frames, height, width]`; None for a pipeline with an unknown layout."""
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
    """Returns the map `[channels + 1, 3]` that fits the video best (least squares). Its last row is the constant.

    The video may be shrunk already, which changes nothing.
    """
    _, frames, height, width = grid.shape
    colours = shrink(video, grid).cpu().transpose(0, 1).unsqueeze(0)
    targets = torch.nn.functional.adaptive_avg_pool3d(colours, (frames, height, width))[0]
    points = targets.permute(1, 2, 3, 0).reshape(-1, 3)
    return cast("Any", torch.linalg).lstsq(_points(grid), points, driver="gelsd").solution


def paint(grid: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """Returns the middle frame as colours `[height, width, 3]`, with values from 0 to 1."""
    middle = grid[:, grid.shape[1] // 2 : grid.shape[1] // 2 + 1]
    _, _, height, width = middle.shape
    return (_points(middle) @ colours).reshape(height, width, 3).clamp(0, 1)


def _points(grid: torch.Tensor) -> torch.Tensor:
    """Returns one row per point of the grid: the channels, and 1 for the constant."""
    flat = grid.detach().cpu().float().permute(1, 2, 3, 0).reshape(-1, grid.shape[0])
    return torch.cat([flat, torch.ones(flat.shape[0], 1)], dim=1)


def _to_picture(grid: torch.Tensor, colours: torch.Tensor, clip: ResolvedClip) -> bytes:
    pixels = paint(grid, colours).mul(255).round().to(torch.uint8).numpy()
    picture = Image.fromarray(pixels, "RGB")
    return to_jpeg(picture.resize(preview_size(clip.width, clip.height), Image.Resampling.BICUBIC))
