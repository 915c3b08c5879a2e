"""Conditional requests (RFC 9110, section 13): evaluates If-Match, If-None-Match and If-Range. Pure."""

import re

_TAG = re.compile(r'(W/)?("[^"]*")')


def is_expected(if_match: str | None, etag: str) -> bool:
    """Whether `If-Match` lets the request proceed; if not, respond with 412. A weak tag matches nothing."""
    if if_match is None or if_match.strip() == "*":
        return True
    return etag in [tag for weak, tag in _TAG.findall(if_match) if not weak]


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether to respond with 304. Uses the weak comparison, as the RFC requires for `If-None-Match`."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in [tag for _, tag in _TAG.findall(if_none_match)]


def may_resume(if_range: str | None, etag: str) -> bool:
    """Whether `If-Range` allows a partial response. A date never does: it is too coarse."""
    return if_range is None or if_range.strip() == etag
