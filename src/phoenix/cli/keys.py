"""`phoenix keys …`: create, list, rotate and revoke API keys, in the configured database."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Column, Table

from phoenix.cli.console import err, exit_on_error, out, printable, read_settings

if TYPE_CHECKING:
    from phoenix.db.unit_of_work import Database

keys_app = typer.Typer(no_args_is_help=True, help="Create, rotate and revoke API keys.")

T = TypeVar("T")

# Importing SQLAlchemy takes half a second. Commands import it when they run, so that `phoenix --help` stays fast.
# ruff: noqa: PLC0415


KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `phoenix keys list` prints it.")]


class KeyScope(StrEnum):
    """The scopes of `access.keys.Scope`, without its imports."""

    READ = "read"
    WRITE = "write"
    METRICS = "metrics"
    ADMIN = "admin"


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that distinguishes the key from other keys.")],
    scope: Annotated[
        list[KeyScope] | None, typer.Option(help="Scope of the key, may be repeated; read and write if unset.")
    ] = None,
) -> None:
    """Create a key. The key is the last line of the output, and cannot be shown again."""
    from phoenix.access import keys

    scopes = {keys.Scope(each.value) for each in scope or [KeyScope.READ, KeyScope.WRITE]}

    async def create(database: "Database") -> str:
        async with database.write() as uow:
            return await keys.create_key(uow, name, scopes)

    made = _on_database(create)
    key_id, secret_id = keys.ids_of(made)
    _log("a key was created", key_id=key_id, secret_id=secret_id, name=name, scopes=sorted(scopes))
    _show_key(made)


@keys_app.command("list")
def list_keys() -> None:
    """List the keys, oldest first."""
    from phoenix.access import keys

    async def fetch(database: "Database") -> Table:
        others = ("name", "scopes", "created", "last used", "old until", "revoked")
        # The id stays whole in a narrow terminal, because `rotate` and `revoke` take it.
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
        float,
        typer.Option(
            min=0, max=8760, metavar="HOURS", help="Hours for which the old secret still works; 0 ends it at once."
        ),
    ] = 24,
) -> None:
    """Replace the secret of a key. The key keeps its jobs. The new key is the last line of the output.

    If the key was rotated before, only the newest of its old secrets still works. A stream token ends with the secret
    that made it. Its open streams end within PHOENIX_EVENTS__MAX_STREAM_AGE_S.
    """
    from phoenix.access import keys

    async def rotate(database: "Database") -> str:
        async with database.write() as uow:
            return await keys.rotate_key(uow, key_id, keep_old_for=timedelta(hours=keep_old_for))

    made = _on_database(rotate)
    _log("a key was rotated", key_id=key_id, secret_id=keys.ids_of(made)[1], keep_old_for_h=keep_old_for)
    _show_key(made)


@keys_app.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """Revoke a key from the next request on. Its open streams end within a heartbeat. Repeating it is harmless."""
    from phoenix.access import keys

    async def revoke(database: "Database") -> str:
        async with database.write() as uow:
            return (await keys.revoke_key(uow, key_id)).name

    name = _on_database(revoke)
    _log("a key was revoked", key_id=key_id, name=name)
    out.print(f"{key_id} ({printable(name)}) is revoked.")


def _log(event: str, **fields: Any) -> None:
    """Writes a line of the log to stderr, with the account that ran the command."""
    from phoenix.telemetry.logs import configure_logs, get_logger

    log = read_settings().log
    configure_logs(level=log.level, json_lines=log.json_lines and not sys.stderr.isatty())
    get_logger(__name__).info(event, **fields, account=_account())


def _account() -> str:
    # A container may run under a number that has no name.
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _show_key(key: str) -> None:
    """Prints the key on the last line of the output, so that scripts can read it."""
    err.print("Keep the key: only a digest of it is stored.", style="dim")
    print(key)


def _on_database(work: Callable[["Database"], Awaitable[T]]) -> T:
    """Opens the database, runs `work`, and returns its result. Ends the command with a message on an error."""
    from phoenix.services import open_database

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
