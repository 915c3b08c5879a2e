"""The plan of a reel in whole frames: no frame is lost, shown twice, or part of three clips at a time."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.contract import MediaInfo
from phoenix.media.reel.plan import chunks_of, picture_of
from phoenix.media.reel.spans import overlaps_of
from phoenix.media.timeline import PictureTimes, SourceStream, Timeline

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=60)
REQUESTED = st.integers(1, 50)


def sources_of(counts: list[int]) -> list[SourceStream]:
    return [SourceStream(Path(f"{index}.mp4")) for index in range(len(counts))]


def timeline_at(fps: Fraction) -> Timeline:
    return Timeline(PictureTimes(index=0, start_s=0, end_s=1, num_frames=24, fps=fps, is_regular=True))


@given(COUNTS, REQUESTED)
def test_no_clip_shares_more_frames_than_it_has(counts: list[int], requested: int) -> None:
    overlaps = overlaps_of(counts, requested)

    shared = zip([0, *overlaps], [*overlaps, 0], strict=True)
    assert all(before + after <= count for (before, after), count in zip(shared, counts, strict=True))
    assert all(0 <= overlap <= requested for overlap in overlaps)


@given(st.lists(st.integers(20, 40), min_size=1, max_size=30), st.integers(1, 10))
def test_clips_that_are_long_enough_share_the_requested_frames(counts: list[int], requested: int) -> None:
    assert overlaps_of(counts, requested) == [requested] * (len(counts) - 1)


@given(COUNTS, REQUESTED, st.integers(2, 8))
def test_chunks_contain_every_frame_once_and_in_order(counts: list[int], requested: int, max_inputs: int) -> None:
    chunks = chunks_of(sources_of(counts), counts, overlaps_of(counts, requested), max_inputs)

    frames = [
        (segment.source, frame)
        for chunk in chunks
        for segment in chunk.segments
        for frame in range(segment.start, segment.end)
    ]
    every = [
        (source, frame) for source, count in zip(sources_of(counts), counts, strict=True) for frame in range(count)
    ]
    assert frames == every


@given(COUNTS, REQUESTED, st.integers(2, 8))
def test_chunks_make_a_reel_of_the_planned_length(counts: list[int], requested: int, max_inputs: int) -> None:
    overlaps = overlaps_of(counts, requested)

    chunks = chunks_of(sources_of(counts), counts, overlaps, max_inputs)

    assert sum(chunk.num_frames for chunk in chunks) == sum(counts) - sum(overlaps)


@given(COUNTS, REQUESTED, st.integers(2, 8))
def test_a_chunk_is_limited_and_can_be_crossfaded(counts: list[int], requested: int, max_inputs: int) -> None:
    for chunk in chunks_of(sources_of(counts), counts, overlaps_of(counts, requested), max_inputs):
        before, after = [0, *chunk.overlaps], [*chunk.overlaps, 0]

        assert len(chunk.segments) <= max_inputs
        assert all(overlap >= 1 for overlap in chunk.overlaps)
        assert all(
            segment.num_frames >= max(1, first + last)
            for segment, first, last in zip(chunk.segments, before, after, strict=True)
        )


def test_a_reel_of_500_clips_takes_many_small_commands() -> None:
    counts = [48] * 500

    chunks = chunks_of(sources_of(counts), counts, overlaps_of(counts, 8))

    assert len(chunks) > 60
    assert max(len(chunk.segments) for chunk in chunks) == 8


@pytest.mark.parametrize(("fps", "of_reel"), [(Fraction(30000, 1001), Fraction(30000, 1001)), (Fraction(1, 10), 1)])
def test_the_reel_takes_the_rate_of_its_first_clip(fps: Fraction, of_reel: Fraction) -> None:
    picture = picture_of(MediaInfo(media="video", format="mp4", width=64, height=64), timeline_at(fps))

    assert picture.fps == of_reel


def test_the_reel_takes_even_sizes_from_its_first_clip() -> None:
    picture = picture_of(MediaInfo(media="video", format="webm", width=65, height=1), timeline_at(Fraction(24)))

    assert (picture.width, picture.height) == (64, 2)
