"""`phoenix keys …`: create, list, change, rotate, revoke and purge API keys, in the configured database."""

import asyncio
import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from phoenix.cli.console import err, exit_on_error, format_bytes, out, printable, read_settings
from phoenix.cli.keys.options import ExpiresAt, ExpiresIn, KeyId, KeyScope, MaxStored, parse_size, read_end
from phoenix.cli.tables import fitting, with_prompts

if TYPE_CHECKING:
    from phoenix.access.tables import ApiKeyRow
    from phoenix.db.unit_of_work import Database, UnitOfWork
    from phoenix.jobs.purge import Holdings
    from phoenix.settings import Settings
    from phoenix.storage.store import ArtifactStore

keys_app = typer.Typer(no_args_is_help=True, help="Create, change and end API keys.")

T = TypeVar("T")
_NAME_WIDTH = 12
"""The least width of the column with the names of keys."""
_REDIS_TIMEOUT_S = 2.0

# Importing SQLAlchemy takes half a second. Commands import it when they run, so that `phoenix keys --help` stays fast.
# ruff: noqa: PLC0415


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that distinguishes the key from other keys.")],
    scope: Annotated[
        list[KeyScope] | None, typer.Option(help="Scope of the key, may be repeated; read and write if unset.")
    ] = None,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    max_stored: MaxStored = None,
) -> None:
    """Create a key. The key is the last line of the output, and cannot be shown again."""
    from phoenix.access import keys

    scopes = {keys.Scope(each.value) for each in scope or [KeyScope.READ, KeyScope.WRITE]}
    end, max_bytes = read_end(expires_in, expires_at), parse_size(max_stored) if max_stored else None

    async def create(database: "Database") -> str:
        async with database.write() as uow:
            made = await keys.create_key(uow, name, scopes, expires_at=end, max_stored_bytes=max_bytes)
            await _record(uow, "key.create", keys.ids_of(made)[0], name=name, scopes=sorted(scopes), **given)
            return made

    given = {"expires_at": end.isoformat() if end else None, "max_stored_bytes": max_bytes}
    made = _on_database(create)
    key_id, secret_id = keys.ids_of(made)
    _log("a key was created", key_id=key_id, secret_id=secret_id, name=name, scopes=sorted(scopes), **given)
    _show_key(made)


@keys_app.command("list")
def list_keys() -> None:
    """List the keys, oldest first, with what each stores. A narrow terminal shows fewer columns."""
    from phoenix.access import keys
    from phoenix.jobs.submission.admission_control import list_stored_bytes

    async def fetch(database: "Database") -> "tuple[Sequence[ApiKeyRow], Mapping[str, int]]":
        async with database.read() as session:
            return await keys.list_keys(session), await list_stored_bytes(session)

    found, stored = _on_database(fetch)
    if not found:
        out.print("No keys.")
        return
    default_bytes = read_settings().limits.stored_bytes_per_key
    rows = [_key_cells(row, stored.get(row.id, 0), default_bytes) for row in found]
    optional = ("ends", "scopes", "last used", "created", "old until")
    names = fitting(("id", "stored", *optional), rows, optional=optional, reserved=_NAME_WIDTH, width=out.width)
    table = with_prompts(names, "name")
    for row, cells in zip(found, rows, strict=True):
        style = "dim" if row.revoked_at else None
        table.add_row(*(cells[name] for name in names), printable(row.name, 40), style=style)
    out.print(table)


def _key_cells(row: "ApiKeyRow", stored_bytes: int, default_bytes: int) -> dict[str, str]:
    """The cells of a key by column, without its name."""
    max_bytes = default_bytes if row.max_stored_bytes is None else row.max_stored_bytes
    return {
        "id": row.id,
        "stored": format_bytes(stored_bytes) + (f" of {format_bytes(max_bytes)}" if max_bytes else ""),
        "ends": _end_of(row),
        "scopes": " ".join(row.scopes),
        "last used": _format(row.last_used_at),
        "created": _format(row.created_at),
        "old until": _format(row.previous_until),
    }


def _end_of(row: "ApiKeyRow") -> str:
    if row.purged_at:
        return f"purged {_format(row.purged_at)}"
    return f"revoked {_format(row.revoked_at)}" if row.revoked_at else _format(row.expires_at)


@keys_app.command("set")
def set_key(
    key_id: KeyId,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    never_expires: Annotated[bool, typer.Option("--never-expires", help="The key has no end.")] = False,
    max_stored: MaxStored = None,
    default_quota: Annotated[
        bool, typer.Option("--default-quota", help="The key may store what the settings allow.")
    ] = False,
) -> None:
    """Change when a key ends, or how much it may store. What is not named stays as it is."""
    from phoenix.access import keys

    changes: dict[str, Any] = {}
    end = read_end(expires_in, expires_at)
    if end or never_expires:
        changes["expires_at"] = None if never_expires else end
    if max_stored or default_quota:
        changes["max_stored_bytes"] = None if default_quota or max_stored is None else parse_size(max_stored)
    if not changes or (end and never_expires) or (max_stored and default_quota):
        raise typer.BadParameter("name what to change, and each value once; --help lists the options.")

    shown = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in changes.items()}

    async def change(database: "Database") -> str:
        async with database.write() as uow:
            name = (await keys.change_key(uow, key_id, **changes)).name
            await _record(uow, "key.change", key_id, **shown)
            return name

    name = _on_database(change)
    _publish_change()
    _log("a key was changed", key_id=key_id, name=name, **shown)
    out.print(f"{key_id} ({printable(name)}) is changed.")


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
    that made it. A secret that ends now ends its open streams.
    """
    from phoenix.access import keys

    async def rotate(database: "Database") -> str:
        async with database.write() as uow:
            made = await keys.rotate_key(uow, key_id, keep_old_for=timedelta(hours=keep_old_for))
            await _record(uow, "key.rotate", key_id, keep_old_for_h=keep_old_for)
            return made

    made = _on_database(rotate)
    _publish_change()
    _log("a key was rotated", key_id=key_id, secret_id=keys.ids_of(made)[1], keep_old_for_h=keep_old_for)
    _show_key(made)


@keys_app.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """Revoke a key from the next request on, and end its open streams. Repeating it is harmless."""
    from phoenix.access import keys

    async def revoke(database: "Database") -> str:
        async with database.write() as uow:
            name = (await keys.revoke_key(uow, key_id)).name
            await _record(uow, "key.revoke", key_id)
            return name

    name = _on_database(revoke)
    _publish_change()
    _log("a key was revoked", key_id=key_id, name=name)
    out.print(f"{key_id} ({printable(name)}) is revoked.")


@keys_app.command("purge")
def purge_key(
    key_id: KeyId, yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False
) -> None:
    """Revoke a key, and delete everything that it made: jobs, files, events, webhooks and records.

    Running jobs are canceled first. Repeat a purge that was interrupted: it continues with what is left.
    """
    from phoenix.access import keys
    from phoenix.jobs.purge import count_holdings, purge_owner

    async def look(database: "Database") -> "tuple[str, Holdings]":
        async with database.write() as uow:
            row = await keys.get_key_locked(uow, key_id)
            return row.name, await count_holdings(uow.session, key_id)

    name, found = _on_database(look)
    what = f"{found.jobs} jobs ({found.unfinished} unfinished), {found.files} files, {format_bytes(found.size_bytes)}"
    if not yes:
        err.print(f"This revokes {key_id} ({printable(name)}) and deletes {what}. It cannot be undone.")
        typer.confirm("Delete all of this?", abort=True, err=True)

    async def purge(database: "Database", store: "ArtifactStore") -> None:
        # A purge makes room on a full disk, so each of its steps may use the ballast.
        async with database.write(frees_space=True) as uow:
            await keys.revoke_key(uow, key_id)
        await _send_change(read_settings())
        async for count in purge_owner(database, store, key_id):
            err.print(f"deleted {count} more", style="dim")
        async with database.write(frees_space=True) as uow:
            await keys.record_purge(uow, key_id)
            await _record(uow, "key.purge", key_id, **counts)
        await database.erase_deleted()

    counts = {"jobs": found.jobs, "unfinished": found.unfinished, "files": found.files, "bytes": found.size_bytes}
    _on_database_and_store(purge)
    _log("a key was purged", key_id=key_id, name=name, **counts)
    out.print(f"{key_id} ({printable(name)}) is revoked; {what} are deleted.")


def _publish_change() -> None:
    """Makes every API process look keys up again, and end the streams of keys and secrets that ended.

    Without Redis, both happen some seconds later.
    """
    asyncio.run(_send_change(read_settings()))


async def _send_change(settings: "Settings") -> None:
    from redis.exceptions import RedisError

    from phoenix.cli.embedded.redis_server import find_socket
    from phoenix.events.pubsub.channels import Channels, KeysChanged
    from phoenix.events.pubsub.redis_client import open_redis, send
    from phoenix.services import redis_url

    socket = None if settings.redis.url else find_socket(settings.data_dir)
    redis = open_redis(f"unix://{socket}" if socket else redis_url(settings), socket_timeout_s=_REDIS_TIMEOUT_S)
    try:
        async with asyncio.timeout(_REDIS_TIMEOUT_S):
            await send(redis, *KeysChanged().commands(Channels(settings.redis.prefix)))
    except (RedisError, OSError, TimeoutError):
        return
    finally:
        await redis.aclose()


def _log(event: str, **fields: Any) -> None:
    """Writes a line of the log to stderr, with the account that ran the command."""
    from phoenix.telemetry.logs import configure_logs, get_logger

    log = read_settings().log
    configure_logs(level=log.level, json_lines=log.json_lines and not sys.stderr.isatty())
    get_logger(__name__).info(event, **fields, account=_account())


async def _record(uow: "UnitOfWork", action: str, key_id: str, **details: Any) -> None:
    """Adds the act to the audit log, in the transaction that makes it."""
    from phoenix.access.audit import Act, Actor, record_act

    actor = Actor(account=f"{_account()}@{socket.gethostname()}")
    await record_act(uow, Act(actor, action, key_id, key_id, details))


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


def _on_database_and_store(work: Callable[["Database", "ArtifactStore"], Awaitable[None]]) -> None:
    """Like `_on_database`, with the store of files. The workers learn of what changes over Redis."""
    from phoenix.services import open_services

    settings = read_settings()

    async def run() -> None:
        async with open_services(settings) as services:
            await work(services.database, services.store)

    with exit_on_error():
        asyncio.run(run())


def _format(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at else "-"
