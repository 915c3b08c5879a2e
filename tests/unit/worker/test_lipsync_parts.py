"""Which frames each part of a lip-sync makes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.worker.lipsyncs import frames_of_part


@given(num_frames=st.integers(1, 20_000), parts=st.integers(1, 40), batch=st.sampled_from([1, 4, 16, 256]))
def test_parts_have_every_frame_once_and_in_order(num_frames: int, parts: int, batch: int):
    ranges = [frames_of_part(num_frames, parts, part, batch=batch) for part in range(parts)]
    assert ranges[0].start == 0
    assert ranges[-1].stop == num_frames
    assert all(before.stop == after.start for before, after in pairwise(ranges))
    assert num_frames < parts or all(ranges)


@given(num_frames=st.integers(640, 20_000), parts=st.integers(1, 40))
def test_a_part_begins_with_a_whole_batch(num_frames: int, parts: int):
    starts = [frames_of_part(num_frames, parts, part, batch=16).start for part in range(parts)]
    assert all(start % 16 == 0 for start in starts)


@pytest.mark.parametrize(("part", "frames"), [(0, range(16)), (1, range(16, 32)), (2, range(32, 50))])
def test_the_last_part_has_what_does_not_fill_a_batch(part: int, frames: range):
    assert frames_of_part(50, 3, part, batch=16) == frames
