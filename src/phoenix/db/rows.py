"""Rows of tables without the bookkeeping of a session: for the statements that run with every request."""

from collections.abc import Sequence
from functools import cache
from typing import cast

from sqlalchemy import Insert, Table, insert, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel


def table_of(row: type[SQLModel]) -> Table:
    """The table that a class of rows describes."""
    return cast("Table", inspect(row).local_table)


@cache
def _insert_into(table: Table) -> Insert:
    return insert(table)


async def insert_rows(session: AsyncSession, rows: Sequence[SQLModel]) -> None:
    """Inserts new rows of one class in one round trip. The session does not track them: later changes are not written.

    A flush would also sort the rows, and compare each attribute with what it was.
    """
    if not rows:
        return
    table = table_of(type(rows[0]))
    names = table.columns.keys()
    await session.execute(_insert_into(table), [{name: getattr(row, name) for name in names} for row in rows])
