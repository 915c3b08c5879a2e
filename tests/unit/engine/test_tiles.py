"""The tiles of a frame: together they are the frame, and each pixel has one whole share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.engine.postprocessing.tiles import plan_spans


@given(
    length=st.integers(2, 3000),
    overlap=st.integers(0, 40),
    spare=st.integers(0, 400),
    multiple=st.sampled_from([1, 8, 16]),
    factor=st.integers(1, 4),
    is_fixed=st.booleans(),
)
def test_the_shares_of_all_tiles_sum_up_to_one(length, overlap, spare, multiple, factor, is_fixed):
    tile = max(32, 4 * overlap) + spare
    total = np.zeros(length * factor)
    spans = plan_spans(length, tile=tile, overlap=overlap, multiple=multiple, factor=factor, is_fixed=is_fixed)
    for span in spans:
        total[span.start * factor : span.end * factor] += span.weights
    np.testing.assert_allclose(total, 1, atol=1e-4)
    assert len({span.end - span.start for span in spans}) == 1
    assert spans[0].end - spans[0].start <= tile + multiple
    assert 0 <= spans[0].start < spans[-1].end <= length


@given(length=st.integers(200, 2000), overlap=st.integers(4, 30))
def test_the_outer_half_of_an_overlap_has_no_share(length, overlap):
    spans = plan_spans(length, tile=128, overlap=overlap)
    for span in spans[1:]:
        assert not span.weights[: overlap - overlap // 2 - 1].any()
    for span in spans[:-1]:
        assert not span.weights[len(span.weights) - (overlap - overlap // 2 - 1) :].any()


@pytest.mark.parametrize(("length", "tile", "count"), [(512, 512, 1), (513, 512, 2), (100, 512, 1)])
def test_a_frame_that_fits_a_tile_is_one_tile(length, tile, count):
    assert len(plan_spans(length, tile=tile, overlap=32)) == count
