"""The trace that a request belongs to (W3C Trace Context). It is passed on as it came: nothing here makes spans."""

import re
from collections.abc import Mapping

HEADER = "traceparent"

_PATTERN = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<parent>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)


def parse_traceparent(header: str) -> str | None:
    """The header as version 00 has it, or None: what cannot be read counts as absent.

    Later versions may say more after the flags, and must begin as version 00 does.
    """
    match = _PATTERN.fullmatch(header.strip(" \t"))
    if match is None or (match["version"] == "00" and match["rest"]):
        return None
    return f"00-{match['trace']}-{match['parent']}-{match['flags']}"


def trace_fields(traceparent: str | None) -> Mapping[str, str]:
    """What log lines tell of the trace: `trace_id`, or nothing where there is none."""
    return {"trace_id": traceparent.split("-")[1]} if traceparent else {}
