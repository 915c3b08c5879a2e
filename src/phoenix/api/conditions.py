"""Conditional requests: whether a client has what it asks for, and knows what it changes (RFC 9110, 13). Pure."""

import re

_TAG = re.compile(r'(W/)?("[^"]*")')


def is_expected(if_match: str | None, etag: str) -> bool:
    """Whether `If-Match` lets the request go on; otherwise the answer is 412. A weak tag matches nothing."""
    if if_match is None or if_match.strip() == "*":
        return True
    return etag in [tag for weak, tag in _TAG.findall(if_match) if not weak]


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether to answer 304. Compares weakly, as the RFC demands of this header."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in [tag for _, tag in _TAG.findall(if_none_match)]


def may_resume(if_range: str | None, etag: str) -> bool:
    """Whether a range of this file continues what the client has. A date is too coarse to tell."""
    return if_range is None or if_range.strip() == etag
