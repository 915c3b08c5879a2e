"""Secrets that all replicas share without being configured: the first to need one generates it, and SQL keeps it."""

import secrets

from sqlalchemy import text

from phoenix.access.tables import SecretRow
from phoenix.db.unit_of_work import Database

# If two replicas start together, the second adopts the secret of the first.
_KEEP_FIRST = text("INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")


async def share_secret(database: Database, name: str) -> bytes:
    """The secret of this name (256 random bits), generated if there is none yet."""
    async with database.read() as session:
        row = await session.get(SecretRow, name)
    if row is None:
        async with database.write() as uow:
            await uow.session.execute(_KEEP_FIRST, {"name": name, "value": secrets.token_urlsafe(32)})
            row = await uow.session.get_one(SecretRow, name)
    return row.value.encode()
