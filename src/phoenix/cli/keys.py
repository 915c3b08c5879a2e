"""`phoenix keys …`: create, list, rotate and revoke API keys, in the configured database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.table import Column, Table

from phoenix.cli.console import err, exit_on_error, out, printable, read_settings

if TYPE_CHECKING:
    from phoenix.db.unit_of_work import Database

keys_app = typer.Typer(no_args_is_help=True, help="Create, rotate and revoke API keys.")

T = TypeVar("T")

# Importing SQLAlchemy takes half a second, which `phoenix --help` should not pay for.
# ruff: noqa: PLC0415


KeyId = Annotated[str, typer.Argument(metavar="ID", help="As listed: what follows phx_.")]


class KeyScope(StrEnum):
    """As `access.keys.Scope`."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that tells the key from others.")],
    scope: Annotated[list[KeyScope] | None, typer.Option(help="May be repeated; read and write if unset.")] = None,
) -> None:
    """Create a key. It is the last line of the output, and cannot be shown again."""
    from phoenix.access import keys

    scopes = {keys.Scope(each.value) for each in scope or [KeyScope.READ, KeyScope.WRITE]}

    async def create(database: "Database") -> str:
        async with database.write() as uow:
            return await keys.create_key(uow, name, scopes)

    made = _on_database(create)
    _show_key(made)


@keys_app.command("list")
def list_keys() -> None:
    """List the keys, the oldest first."""
    from phoenix.access import keys

    async def fetch(database: "Database") -> Table:
        others = ("name", "scopes", "created", "last used", "old until", "revoked")
        # Whole in a narrow terminal too: `rotate` and `revoke` take it.
        table = Table(Column("id", min_width=12), *others, box=None, pad_edge=False)
        async with database.read() as session:
            for row in await keys.list_keys(session):
                at_times = (row.created_at, row.last_used_at, row.previous_until, row.revoked_at)
                times = (_format(at) for at in at_times)
                style = "dim" if row.revoked_at else None
                table.add_row(row.id, printable(row.name, 40), " ".join(row.scopes), *times, style=style)
        return table

    table = _on_database(fetch)
    out.print(table if table.row_count else "No keys.")


@keys_app.command("rotate")
def rotate_key(
    key_id: KeyId,
    keep_old_for: Annotated[
        float, typer.Option(min=0, max=8760, metavar="HOURS", help="How long the old one works; 0 ends it at once.")
    ] = 24,
) -> None:
    """Replace the secret of a key, which keeps its jobs. The new key is printed as by `create`.

    If the key was rotated before, only the newest of its old secrets continues to work. Stream tokens end with the
    secret that they were made with, and open streams within PHOENIX_EVENTS__MAX_STREAM_AGE_S.
    """
    from phoenix.access import keys

    async def rotate(database: "Database") -> str:
        async with database.write() as uow:
            return await keys.rotate_key(uow, key_id, keep_old_for=timedelta(hours=keep_old_for))

    _show_key(_on_database(rotate))


@keys_app.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """Revoke a key from the next request on; its open streams end within a heartbeat. Harmless if repeated."""
    from phoenix.access import keys

    async def revoke(database: "Database") -> str:
        async with database.write() as uow:
            return (await keys.revoke_key(uow, key_id)).name

    name = _on_database(revoke)
    out.print(f"{key_id} ({printable(name)}) is revoked.")


def _show_key(key: str) -> None:
    """On the last line of the output, so that scripts can take it."""
    err.print("Keep it: only a digest of it is stored.", style="dim")
    print(key)


def _on_database(work: Callable[["Database"], Awaitable[T]]) -> T:
    """Opens the database for one piece of work; ends the command with what went wrong."""
    from phoenix.assembly.services import open_database

    settings = read_settings()

    async def run() -> T:
        database = open_database(settings)
        try:
            return await work(database)
        finally:
            await database.close()

    with exit_on_error():
        return asyncio.run(run())


def _format(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at else "-"
