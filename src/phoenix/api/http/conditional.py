"""Conditional requests (RFC 9110, section 13): evaluates If-Match, If-None-Match and If-Range."""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from phoenix.contract import Job, Metadata
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


# The digest of the view at the end of a tag.
_DIGEST = re.compile(r'(?<=[0-9a-f])-[0-9a-f]{12}(?=")')


def etag_of(version: str | int, view: bytes) -> str:
    """A strong `ETag`: the version of a job, and a digest of what is sent.

    Progress and queue positions are no new version, so two views can have the same one.
    """
    return f'"{version}-{hashlib.blake2b(view, digest_size=6).hexdigest()}"'


def etag_of_job(job: Job, view: bytes) -> str:
    """The `ETag` of a job, which `check_if_match` understands."""
    version = _version(job.last_seq, job.title, job.tags, job.metadata, favorite=job.favorite, priority=job.priority)
    return etag_of(version, view)


@asynccontextmanager
async def check_if_match(uow: UnitOfWork, job_id: str, *, owner_id: str, if_match: str | None) -> AsyncGenerator[None]:
    """Undoes the change in its block with `PreconditionFailed` if `if_match` names an earlier version of the job.

    Only the version in the tag counts, so that a job stays cancelable while its progress changes. Of a tag that is a
    number, the number counts. The tag is evaluated after the change, because other errors take precedence (RFC 9110,
    section 13.2.1).
    """
    if if_match is None:
        yield
        return
    row = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    metadata: Metadata = row.options.get("metadata") or {}
    seen_seq = row.last_seq
    seen = _version(seen_seq, row.title, row.tags, metadata, favorite=row.favorite, priority=row.priority)
    yield
    expected = _DIGEST.sub("", if_match)
    if not (passes_if_match(expected, f'"{seen_seq}"') or passes_if_match(expected, f'"{seen}"')):
        raise PreconditionFailed


def _version(
    last_seq: int, title: str | None, tags: Sequence[str], metadata: Metadata, *, favorite: bool, priority: str
) -> str:
    """The number of the job's last durable event, and a digest of what its owner can change without an event."""
    named = json.dumps([title, list(tags), metadata, favorite, str(priority)], sort_keys=True)
    return f"{last_seq}-{hashlib.blake2b(named.encode(), digest_size=4).hexdigest()}"
