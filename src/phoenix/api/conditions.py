"""Conditional requests: whether the client has what it asks for already (RFC 9110, section 13). Pure."""

import re

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether to answer 304. Compares weakly, as the RFC demands of this header."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)


def may_resume(if_range: str | None, etag: str) -> bool:
    """Whether a range of this file continues what the client has. A date is too coarse to tell."""
    return if_range is None or if_range.strip() == etag
