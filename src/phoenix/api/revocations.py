"""Finds out which owners' keys were revoked: for open streams, and for tokens, which do not show it."""

from collections.abc import Collection, Mapping

from phoenix.access.keys import find_revoked, find_void
from phoenix.assembly import Services
from phoenix.events.shared_reads import Gathered

_Used = tuple[str, str]
"""An owner, and the secret of its key that was presented."""


class Revocations:
    """One per process. Where no key is required, none counts as revoked."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._gathered = Gathered[_Used, bool](self._read)

    async def find(self, owner_ids: Collection[str]) -> Collection[str]:
        """The owners among these whose key was revoked. Raises `Unavailable` while the database is away."""
        if not self._services.settings.is_auth_required:
            return ()
        async with self._services.database.read() as session:
            return await find_revoked(session, owner_ids)

    async def is_void(self, owner_id: str, secret_id: str) -> bool:
        """Whether the key was revoked or this secret of it replaced; calls during a query share the next one."""
        if not self._services.settings.is_auth_required:
            return False
        return bool(await self._gathered.get((owner_id, secret_id)))

    async def _read(self, used: Collection[_Used]) -> Mapping[_Used, bool]:
        async with self._services.database.read() as session:
            return dict.fromkeys(await find_void(session, used), True)
