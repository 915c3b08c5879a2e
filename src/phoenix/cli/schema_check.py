"""Refuses to serve a database without the tables of this version. One that does not answer may yet come."""

import asyncio

import typer

from phoenix.cli.console import err, printable
from phoenix.cli.problems import FAILED, NEWER_SCHEMA
from phoenix.settings import Settings

ANSWER_WITHIN_S = 5.0
"""A replica does not wait longer for a database that it can do without at first."""

# alembic and SQLAlchemy weigh half a second, which `phoenix --help` need not pay.
# ruff: noqa: PLC0415


def require_schema(settings: Settings) -> None:
    """Ends the command if the database answers and its tables are missing or older."""
    from phoenix.db.engine import database_url
    from phoenix.db.schema import Schema, SchemaAge, read_schema

    url = database_url(settings.database, settings.data_dir)

    async def ask() -> Schema:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await read_schema(url, settings.database)

    try:
        schema = asyncio.run(ask())
    except Exception:  # noqa: BLE001 - drivers raise errors of many kinds; what serves tells of them, and tries again
        return
    if schema.age is SchemaAge.NEWER:
        err.print(NEWER_SCHEMA)
    if not schema.age.is_usable:
        lacks = "no tables yet" if schema.age is SchemaAge.MISSING else "the tables of an older version"
        shown = printable(url.render_as_string(hide_password=True))
        err.print(f"{shown} has {lacks}: run `phoenix db upgrade` first.", style="red")
        raise typer.Exit(FAILED)
