"""The linear map from latents to colours, and the layouts of the latents of pipelines."""

import pytest
import torch

from fixtures.renders import make_clip
from phoenix.engine.backends.diffusers.latent_previews import ColourMaps, fit, paint, to_grid


def latents_and_video() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight channels over 3 frames of 4x6, and the video of 9 frames of 32x48 that is a linear map of them."""
    torch.manual_seed(5)
    grid, colours = torch.randn(8, 3, 4, 6), torch.randn(9, 3) * 0.05
    colours[-1] = 0.5
    flat = torch.cat([grid, torch.ones(1, 3, 4, 6)]).permute(1, 2, 3, 0) @ colours
    small = flat.permute(0, 3, 1, 2)
    video = small.repeat_interleave(3, dim=0).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return grid, video


def test_a_video_that_is_a_linear_map_of_its_latents_is_found_exactly():
    grid, video = latents_and_video()
    picture = paint(grid, fit(grid, video))
    assert picture.shape == (4, 6, 3)
    expected = video[3:6].mean(0)[:, ::8, ::8].permute(1, 2, 0)
    assert torch.allclose(picture, expected.clamp(0, 1), atol=1e-4)


def test_colours_out_of_range_are_cut_off():
    grid, video = latents_and_video()
    picture = paint(grid * 100, fit(grid, video))
    assert float(picture.min()) == 0
    assert float(picture.max()) == 1


def test_the_first_clip_of_a_model_decides_its_map():
    grid, video = latents_and_video()
    maps = ColourMaps()
    assert maps.find("wan") is None
    maps.learn("wan", grid, video)
    first = maps.find("wan")
    maps.learn("wan", grid, video * 0)
    assert maps.find("wan") is first


def test_constant_latents_of_a_constant_video_can_be_fitted():
    assert torch.isfinite(fit(torch.zeros(8, 3, 4, 6), torch.zeros(9, 3, 32, 48))).all()


class WanLike:
    """Channels before frames."""


class CogVideoXLike:
    """Frames before channels."""


class PackedLike:
    vae_temporal_compression_ratio, vae_spatial_compression_ratio = 8, 32
    transformer_spatial_patch_size, transformer_temporal_patch_size = 1, 1

    @staticmethod
    def _unpack_latents(latents, frames, height, width, _patch, _patch_t):
        return latents.reshape(1, frames, height, width, -1).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize(
    ("pipeline", "shape"),
    [(WanLike(), (1, 16, 3, 8, 8)), (CogVideoXLike(), (1, 3, 16, 8, 8)), (PackedLike(), (1, 2 * 2 * 2, 16))],
)
def test_latents_of_each_layout_become_channels_frames_height_width(pipeline, shape):
    grid = to_grid(pipeline, torch.zeros(shape), make_clip())
    assert grid is not None
    assert grid.shape[0] == 16
    assert grid.dim() == 4


def test_a_layout_that_is_not_known_has_no_preview():
    assert to_grid(WanLike(), torch.zeros(1, 100, 16), make_clip()) is None
