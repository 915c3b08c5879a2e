"""The trace context of a request (W3C Trace Context). Phoenix passes it on, and creates no spans."""

import re
from collections.abc import Mapping

HEADER = "traceparent"

_PATTERN = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<parent>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)


def parse_traceparent(header: str) -> str | None:
    """The header in the form of version 00; None if it cannot be parsed, as if it were absent.

    Headers of later versions may have more fields after the flags, but must begin like version 00.
    """
    match = _PATTERN.fullmatch(header.strip(" \t"))
    if match is None or (match["version"] == "00" and match["rest"]):
        return None
    return f"00-{match['trace']}-{match['parent']}-{match['flags']}"


def trace_fields(traceparent: str | None) -> Mapping[str, str]:
    """Fields for log lines: `trace_id`, or no field without a trace."""
    return {"trace_id": traceparent.split("-")[1]} if traceparent else {}


def find_sampled_trace(traceparent: str | None) -> str | None:
    """The id of the trace, if its caller or this process records it; None otherwise."""
    if traceparent is None or not int(traceparent[-2:], 16) & 1:
        return None
    return traceparent.split("-")[1]
