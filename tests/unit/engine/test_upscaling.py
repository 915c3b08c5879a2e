"""Upscalers of real ONNX files: their factor, their tiles, and files that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from fixtures.tiny_onnx import PICTURE, write_model, write_upscaler
from phoenix.catalog.postprocessors import UpscalerSpec
from phoenix.engine.postprocessing.upscaling import Pixels, Upscaler
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed

NOISE: Pixels = np.random.default_rng(1).integers(0, 256, (150, 230, 3), np.uint8)


def no_check() -> None:
    pass


def open_upscaler(source: Path, **fields: Any) -> Upscaler:
    given = {"id": "x2", "title": "Two", "source": str(source), "factor": 2} | fields
    return Upscaler(UpscalerSpec.model_validate(given), device="cpu")


def refusal(source: Path, **fields: Any) -> str:
    with pytest.raises(TaskFailed) as refused:
        open_upscaler(source, **fields)
    error = refused.value
    assert (error.code, error.stage, error.retriable) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD, True)
    return error.detail


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_upscaler(tmp_path / "x2.onnx")


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_a_frame_grows_by_the_factor_of_the_model(tmp_path, factor):
    upscaler = open_upscaler(write_upscaler(tmp_path / "x.onnx", factor=factor), factor=factor)
    repeated = NOISE.repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_array_equal(upscaler.upscale(NOISE, no_check), repeated)


def test_away_from_the_edges_tiles_give_the_same_pixels_as_the_whole_frame(tmp_path):
    source = write_upscaler(tmp_path / "x2.onnx", blur=4)
    whole, tiled = (open_upscaler(source, tile_px=tile, overlap_px=8, multiple=8) for tile in (512, 48))
    # The mean of the 81 pixels at most 4 pixels away: half of the overlap.
    difference = whole.upscale(NOISE, no_check).astype(int) - tiled.upscale(NOISE, no_check)
    assert abs(difference[8:-8, 8:-8]).max() <= 1


def test_the_more_tiles_overlap_the_nearer_they_are_to_the_whole_frame(tmp_path):
    source = write_upscaler(tmp_path / "x2.onnx", blur=12)
    flat = np.full((150, 230, 3), 200, np.uint8)
    tiled = [open_upscaler(source, tile_px=96, overlap_px=overlap, multiple=1) for overlap in (0, 8, 24)]
    darkest = [each.upscale(flat, no_check)[30:-30, 30:-30].min() for each in tiled]
    assert darkest[0] < darkest[1] < darkest[2] == 200


@pytest.mark.parametrize("size", [(5, 7), (48, 48), (150, 230)])
def test_a_model_of_one_size_gets_tiles_of_that_size(tmp_path, size):
    source = write_upscaler(tmp_path / "x2.onnx", shape=(1, 3, 48, 64))
    frame = NOISE[: size[0], : size[1]]
    repeated = frame.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(open_upscaler(source, overlap_px=8).upscale(frame, no_check), repeated)


def test_a_model_of_16_bit_floats_takes_and_makes_them(tmp_path):
    upscaler = open_upscaler(write_upscaler(tmp_path / "x2.onnx", half=True))
    repeated = NOISE.repeat(2, axis=0).repeat(2, axis=1)
    assert abs(upscaler.upscale(NOISE, no_check).astype(int) - repeated).max() <= 1


def test_equal_frames_give_equal_bytes(plain):
    frames = [open_upscaler(plain, tile_px=64, overlap_px=16).upscale(NOISE, no_check).tobytes() for _ in range(2)]
    assert frames[0] == frames[1]


def test_a_stop_is_seen_between_tiles(plain):
    token, seen = StopToken(), list[int]()

    def stop_at_the_third() -> None:
        seen.append(1)
        if len(seen) == 3:
            token.stop(StopReason.CANCEL)
        token.check()

    with pytest.raises(RenderStopped):
        open_upscaler(plain, tile_px=64, overlap_px=16).upscale(NOISE, stop_at_the_third)
    assert len(seen) == 3


def test_another_factor_than_that_of_the_entry_is_refused_with_the_true_one(plain):
    assert refusal(plain, factor=4) == (
        "x2 cannot be used: it makes 1x3x128x128 of 1x3x64x64, and its entry says factor 4; set factor to 2"
    )


def test_a_model_that_crops_its_result_is_refused(tmp_path):
    nodes = [helper.make_node("AveragePool", ["input"], ["output"], kernel_shape=[3, 3])]
    detail = refusal(write_model(tmp_path / "x.onnx", nodes, {"input": PICTURE}))
    assert "it makes 1x3x62x62 of 1x3x64x64" in detail
    assert "a picture has to become a whole number of times as large" in detail


@pytest.mark.parametrize("shape", [(1, "height", "width", 3), (1, 1, "height", "width"), (2, 3, "height", "width")])
def test_a_model_of_another_form_is_refused_with_its_inputs(tmp_path, shape):
    source = write_model(tmp_path / "x.onnx", [helper.make_node("Identity", ["input"], ["output"])], {"input": shape})
    shown = "x".join(str(side) if isinstance(side, int) else "?" for side in shape)
    assert f"its inputs are input: float {shown}, and an upscaler has one input" in refusal(source)


def test_a_file_that_is_no_onnx_model_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"a pickle")
    assert "x2 cannot be used: onnxruntime cannot read" in refusal(tmp_path / "x.onnx")


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    assert refusal(tmp_path / "no.onnx").endswith(f"cannot read {tmp_path / 'no.onnx'}: No such file or directory")


def test_a_file_with_another_checksum_is_refused(plain):
    assert "and its entry says " + "0" * 64 in refusal(plain, sha256="0" * 64)


def test_values_that_are_no_numbers_fail_instead_of_becoming_black(tmp_path):
    nodes = [
        helper.make_node("Sub", ["input", "most"], ["below"]),
        helper.make_node("Log", ["below"], ["output"]),
    ]
    source = write_model(tmp_path / "x.onnx", nodes, {"input": PICTURE}, constants={"most": np.float32(2)})
    with pytest.raises(TaskFailed, match="made values that are no numbers; export it in 32-bit floats"):
        open_upscaler(source, factor=1)
