"""Secrets that all replicas share without being told one: the first that needs it draws it, and SQL keeps it."""

import secrets

from sqlalchemy import text

from phoenix.access.tables import SecretRow
from phoenix.db.unit_of_work import Database

# Of two replicas that start together, the second keeps what the first has drawn.
_KEEP_FIRST = text("INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")


async def share_secret(database: Database, name: str) -> bytes:
    """The secret of this name, of 256 random bits; made if there is none yet."""
    async with database.read() as session:
        row = await session.get(SecretRow, name)
    if row is None:
        async with database.write() as uow:
            await uow.session.execute(_KEEP_FIRST, {"name": name, "value": secrets.token_urlsafe(32)})
            row = await uow.session.get_one(SecretRow, name)
    return row.value.encode()
