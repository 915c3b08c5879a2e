"""Decodes the latents of one clip in steps of time, so that its memory does not grow with the length of the clip.

The VAE of Wan decodes a frame of latents at a time and joins the results. Here each result is handed on instead, with
the same bits as from `vae.decode`.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch

MADE_BY_ONE_DECODE = frozenset(
    {
        "AnyFlowFARPipeline",
        "AnyFlowPipeline",
        "LucyEditPipeline",
        "MotifVideoImage2VideoPipeline",
        "MotifVideoPipeline",
        "SkyReelsV2DiffusionForcingImageToVideoPipeline",
        "SkyReelsV2DiffusionForcingPipeline",
        "SkyReelsV2ImageToVideoPipeline",
        "SkyReelsV2Pipeline",
        "Wan22VaceModularPipeline",
        "WanImageToVideoPipeline",
        "WanModularPipeline",
        "WanPipeline",
        "WanVACEPipeline",
        "WanVideoToVideoPipeline",
    }
)
"""Pipelines that decode once, at their end, and only scale the result. Others join several decodes, or add frames."""

VAE_IN_STEPS = "AutoencoderKLWan"

STEADY_AFTER = 3
"""Steps after which each further step takes as much memory as the one before: the caches of the VAE are full."""


def decodes_in_steps(pipeline: Any) -> bool:
    """Returns whether this pipeline decodes its frames at once, with a VAE that can do so in steps of time."""
    kinds = {kind.__name__ for kind in type(pipeline).__mro__}
    vae = getattr(pipeline, "vae", None)
    return not kinds.isdisjoint(MADE_BY_ONE_DECODE) and type(vae).__name__ == VAE_IN_STEPS


def uses_tiles(vae: Any, latents: torch.Tensor) -> bool:
    """Returns whether `vae.decode` would decode these latents in tiles."""
    height, width = latents.shape[-2:]
    ratio = vae.spatial_compression_ratio
    is_large = height > vae.tile_sample_min_height // ratio or width > vae.tile_sample_min_width // ratio
    return bool(vae.use_tiling) and is_large


def decode_in_steps(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields the frames of one clip, `[frames, 3, height, width]` with values from 0 to 1: one, then four at a time.

    The cache is a list of this call: a stop would leave the list of the VAE dirty.
    """
    hook = getattr(vae, "_hf_hook", None)
    if hook is not None:
        # As `vae.decode` does: an offloaded VAE comes to the device.
        hook.pre_forward(vae)
    cache: list[Any] = [None] * vae._cached_conv_counts["decoder"]
    ready = vae.post_quant_conv(latents)
    for step in range(ready.shape[2]):
        first = {"first_chunk": True} if step == 0 else {}
        made = vae.decoder(ready[:, :, step : step + 1], feat_cache=cache, feat_idx=[0], **first)
        if vae.config.patch_size is not None:
            made = sys.modules[type(vae).__module__].unpatchify(made, patch_size=vae.config.patch_size)
        yield to_unit_range(made[0].clamp(-1, 1)).transpose(0, 1)


def to_unit_range(video: torch.Tensor) -> torch.Tensor:
    """Does as the video processor of diffusers: values from -1 to 1 become values from 0 to 1."""
    return (video * 0.5 + 0.5).clamp(0, 1)
