"""Rows of tables without the bookkeeping of a session: for the statements that run with every request."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import Insert, Table, insert, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel


def table_of(row: type[SQLModel]) -> Table:
    """The table that a class of rows describes."""
    return cast("Table", inspect(row).local_table)


_T = TypeVar("_T", bound=SQLModel)


@cache
def column_names(kind: type[SQLModel]) -> tuple[str, ...]:
    """The names of the columns of the table that a class of rows describes, in its order."""
    return tuple(table_of(kind).columns.keys())


def detached(kind: type[_T], values: Iterable[Any]) -> _T:
    """A row that no session tracks, from the values of all its columns in the order of `column_names`. Read only.

    A session would watch each attribute for changes, which costs most of the time of a read.
    """
    row = object.__new__(kind)
    vars(row).update(zip(column_names(kind), values, strict=True))  # pyright: ignore[reportArgumentType]
    return row


@cache
def _defaults(kind: type[SQLModel]) -> dict[str, Any]:
    return {name: field.default for name, field in kind.model_fields.items() if not field.is_required()}


def new_row(kind: type[_T], /, **values: Any) -> _T:
    """A row for `insert_rows` that no session tracks, so that it costs a tenth of an instance with tracked attributes.

    Give each column whose default is made by a function. Only `change_new_row` can change it.
    """
    row = object.__new__(kind)
    vars(row).update(_defaults(kind))  # pyright: ignore[reportArgumentType]
    vars(row).update(values)
    return row


def change_new_row(row: SQLModel, /, **values: Any) -> None:
    """Sets values of a row that `new_row` made, before it is inserted."""
    vars(row).update(values)


@cache
def _insert_into(table: Table) -> Insert:
    return insert(table)


async def insert_rows(session: AsyncSession, rows: Sequence[SQLModel]) -> None:
    """Inserts new rows of one class in one round trip. The session does not track them: later changes are not written.

    A flush would also sort the rows, and compare each attribute with what it was.
    """
    if not rows:
        return
    kind = type(rows[0])
    names = column_names(kind)  # pyright: ignore[reportArgumentType]
    values = [{name: vars(row)[name] for name in names} for row in rows]
    await session.execute(_insert_into(table_of(kind)), values)
