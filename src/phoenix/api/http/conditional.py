"""Conditional requests (RFC 9110, section 13): evaluates If-Match, If-None-Match and If-Range."""

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from phoenix.db import UnitOfWork
from phoenix.errors import PreconditionFailed
from phoenix.jobs.repository import get_job_locked

_TAG = re.compile(r'(W/)?("[^"]*")')


def passes_if_match(if_match: str | None, etag: str) -> bool:
    """Whether `If-Match` lets the request proceed; if not, respond with 412. A weak tag matches nothing."""
    if if_match is None or if_match.strip() == "*":
        return True
    return etag in [tag for weak, tag in _TAG.findall(if_match) if not weak]


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether to respond with 304. Uses the weak comparison, as the RFC requires for `If-None-Match`."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in [tag for _, tag in _TAG.findall(if_none_match)]


def passes_if_range(if_range: str | None, etag: str) -> bool:
    """Whether `If-Range` allows a partial response. A date never does: it is too coarse."""
    return if_range is None or if_range.strip() == etag


# The digest in a tag, after the number.
_DIGEST = re.compile(r'(?<=[0-9])-[0-9a-f]{12}(?=")')


def etag_of(last_seq: int, view: bytes) -> str:
    """A strong `ETag`: the number of the job's last durable event, and a digest of the view.

    Progress and queue positions change without such an event, so two views can have the same number.
    """
    return f'"{last_seq}-{hashlib.blake2b(view, digest_size=6).hexdigest()}"'


@asynccontextmanager
async def check_if_match(uow: UnitOfWork, job_id: str, *, owner_id: str, if_match: str | None) -> AsyncGenerator[None]:
    """Undoes the change in its block with `PreconditionFailed` if `if_match` names an earlier state of the job.

    Only the number in the tag counts, so that a job stays cancelable while its progress changes. The tag is evaluated
    after the change, because other errors take precedence (RFC 9110, section 13.2.1).
    """
    if if_match is None:
        yield
        return
    seen_seq = (await get_job_locked(uow.session, job_id, owner_id=owner_id)).last_seq
    yield
    if not passes_if_match(_DIGEST.sub("", if_match), f'"{seen_seq}"'):
        raise PreconditionFailed
