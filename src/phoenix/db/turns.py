"""Makes transactions of one kind come one after the other, where no row stands for what they contend for."""

import zlib

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


async def take_turn(session: AsyncSession, name: str) -> None:
    """Waits until no other transaction has this turn, and keeps it until the end of this one.

    On SQLite every writing transaction has its turn from its beginning.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))
