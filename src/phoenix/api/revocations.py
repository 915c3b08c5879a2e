"""Finds out which owners' keys were revoked: for open streams, and for tokens, which do not show it."""

from collections.abc import Collection, Mapping

from phoenix.access.keys import find_revoked
from phoenix.assembly import Services
from phoenix.events.shared_reads import Gathered


class Revocations:
    """One per process. Where no key is required, none counts as revoked."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._gathered = Gathered[str, bool](self._read)

    async def find(self, owner_ids: Collection[str]) -> Collection[str]:
        """The owners among these whose key was revoked. Raises `Unavailable` while the database is away."""
        if not self._services.settings.is_auth_required:
            return ()
        async with self._services.database.read() as session:
            return await find_revoked(session, owner_ids)

    async def is_revoked(self, owner_id: str) -> bool:
        """Like `find`, for one owner; calls during a query share the next one."""
        return bool(await self._gathered.get(owner_id))

    async def _read(self, owner_ids: Collection[str]) -> Mapping[str, bool]:
        return dict.fromkeys(await self.find(owner_ids), True)
