"""Which bytes a `Range` header asks for, against the examples and rules of RFC 9110."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.api.http.ranges import MAX_RANGES, ByteRange, UnsatisfiableRange, parse_ranges

TOTAL = 1000


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=990-", 990, 1000),
        ("bytes=-5", 995, 1000),
        ("bytes=-5000", 0, 1000),
        ("bytes=900-5000", 900, 1000),
        ("Bytes = 1-1", 1, 2),
    ],
)
def test_a_single_range_is_resolved_against_the_size(header: str, start: int, stop: int) -> None:
    assert list(parse_ranges(header, TOTAL)) == [ByteRange(start, stop)]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=9-2",
        "bytes=a-b",
        "bytes=1-2,x",
        "foo=1-2",
        "bytes=-1-2",
        "bytes=\u0661-2",
    ],
)
def test_an_unknown_unit_or_a_malformed_header_means_the_whole_file(header: str | None) -> None:
    assert not parse_ranges(header, TOTAL)


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=1000-,2000-"])
def test_a_range_beyond_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(UnsatisfiableRange):
        parse_ranges(header, TOTAL)


def test_no_range_of_an_empty_file_can_be_satisfied() -> None:
    with pytest.raises(UnsatisfiableRange):
        parse_ranges("bytes=0-", 0)


def test_several_ranges_keep_their_order_and_lose_those_beyond_the_end() -> None:
    assert list(parse_ranges("bytes=500-599, 0-9, 2000-", TOTAL)) == [ByteRange(500, 600), ByteRange(0, 10)]


def test_ranges_that_together_exceed_the_file_are_answered_with_the_whole_of_it() -> None:
    assert not parse_ranges("bytes=0-,0-,0-", TOTAL)


def test_more_ranges_than_are_worth_it_are_ignored() -> None:
    assert not parse_ranges("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), TOTAL)


def test_a_content_range_names_the_last_byte_and_the_size() -> None:
    assert ByteRange(0, 10).content_range(TOTAL) == "bytes 0-9/1000"


@given(header=st.text(alphabet="bytes=-,0123456789 ", max_size=40), total=st.integers(0, 50))
def test_whatever_is_sent_no_range_leaves_the_file(header: str, total: int) -> None:
    try:
        ranges = parse_ranges(header, total)
    except UnsatisfiableRange:
        return
    assert all(0 <= one.start < one.stop <= total for one in ranges)
