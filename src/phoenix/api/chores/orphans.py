"""Deletes files without rows, left in the store by lost attempts, crashed uploads and failed deletions."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from sqlalchemy import select

from phoenix.assembly import Services
from phoenix.db.columns import db_now
from phoenix.jobs.retain import find_known_keys
from phoenix.storage.faults import StoreRefused
from phoenix.storage.keys import holder_of, is_key
from phoenix.storage.store import ListedObject
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_PREFIXES = ("jobs", "uploads")
_MOST_STAGED = 1000
"""Per round: each takes a request of its own, and a round must not go on for hours."""


async def delete_orphans(services: Services, *, older_than_s: float) -> AsyncGenerator[int]:
    """Walks through the store, and yields after each page how many of its files were deleted.

    Files are stored before their row: only one that is older than any attempt's last step, by the store's clock,
    surely has none. Files with names that Phoenix does not give are left alone.
    """
    before = await _read_time(services, older_than_s)
    async for count in _remove_staged(services, before):
        yield count
    for prefix in _PREFIXES:
        async for page in services.store.pages(prefix):
            orphans = await _find_orphans(services, page, before)
            for key in orphans:
                await services.store.delete(key)
            if orphans:
                _logger.info("files without rows were deleted", count=len(orphans), first=orphans[0])
            yield len(orphans)


async def _read_time(services: Services, ago_s: float) -> datetime:
    """Not of this host: with a clock that is fast, it would take what was just stored for old."""
    async with services.database.read() as session:
        return (await session.execute(select(db_now(-ago_s)))).scalar_one()


async def _remove_staged(services: Services, before: datetime) -> AsyncGenerator[int]:
    """What is left over is for the next round. A store that refuses this does not prevent the rest of the round."""
    total = 0
    try:
        for prefix in _PREFIXES:
            async for count in services.store.remove_staged(prefix, before):
                yield count
                total += count
                if count:
                    _logger.info("uploads that nobody completed were deleted", count=count, prefix=prefix)
                if total >= _MOST_STAGED:
                    return
    except StoreRefused as error:
        _logger.warning("uploads that nobody completed could not be gone through", error=error.detail)


async def _find_orphans(services: Services, page: Sequence[ListedObject], before: datetime) -> list[str]:
    old = [listed.key for listed in page if listed.modified_at < before and is_key(listed.key)]
    if not old:
        return []
    holders = {holder_of(key) for key in old}
    async with services.database.read() as session:
        known = await find_known_keys(
            session,
            upload_ids=[holder for holder in holders if holder.startswith("art_")],
            job_ids=[holder for holder in holders if holder.startswith("job_")],
        )
    return [key for key in old if key not in known]
