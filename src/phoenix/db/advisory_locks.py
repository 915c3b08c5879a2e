"""Serialises transactions of one kind with an advisory lock, where there is no row to lock."""

import zlib

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


async def take_lock(session: AsyncSession, name: str) -> None:
    """Waits until no other transaction holds the lock `name`, and holds it until the end of this one.

    On SQLite, writing transactions exclude each other anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))
