"""The trace that a request belongs to (W3C Trace Context). It is only passed on: Phoenix makes no spans."""

import re
from collections.abc import Mapping

HEADER = "traceparent"

_PATTERN = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<parent>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)


def parse_traceparent(header: str) -> str | None:
    """The header in the form of version 00; None if it cannot be parsed, which counts as absent.

    Later versions may add fields after the flags, but must begin like version 00.
    """
    match = _PATTERN.fullmatch(header.strip(" \t"))
    if match is None or (match["version"] == "00" and match["rest"]):
        return None
    return f"00-{match['trace']}-{match['parent']}-{match['flags']}"


def trace_fields(traceparent: str | None) -> Mapping[str, str]:
    """Fields for log lines: `trace_id`, or nothing without a trace."""
    return {"trace_id": traceparent.split("-")[1]} if traceparent else {}
