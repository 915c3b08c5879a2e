"""Reading `traceparent`."""

import pytest

from phoenix.telemetry.traces import parse_traceparent, trace_fields

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("header", [GOOD, f" {GOOD}\t", f"cc-{TRACE}-{PARENT}-01", f"01-{TRACE}-{PARENT}-01-more"])
def test_a_trace_is_read_as_version_00_has_it(header: str) -> None:
    assert parse_traceparent(header) == GOOD


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-0\u0661",
    ],
)
def test_what_cannot_be_read_counts_as_absent(header: str) -> None:
    assert parse_traceparent(header) is None


def test_log_lines_have_the_trace_only_where_there_is_one() -> None:
    assert trace_fields(GOOD) == {"trace_id": TRACE}
    assert trace_fields(None) == {}
