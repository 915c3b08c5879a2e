"""`phoenix up`: all of Phoenix on one machine with one command."""

import asyncio
import sys
from contextlib import ExitStack
from typing import Annotated, Any, TypeVar

import typer

from phoenix.cli.console import NEWER_SCHEMA, err, exit_on_error, out, read_settings
from phoenix.cli.embedded.listening import READY_LINE, listening, url_of
from phoenix.cli.embedded.lock import FolderLock, Holder, lock_folder
from phoenix.cli.embedded.redis_server import find_redis_server, socket_path
from phoenix.cli.embedded.stack import PrivateRedis, Stack
from phoenix.cli.options import HostOption, PortOption, with_address
from phoenix.settings import Settings, SettingsGroup

# Unfinished tasks are handed back and run again, so a short grace period costs only time.
DRAIN_GRACE_S = 3.0

G = TypeVar("G", bound=SettingsGroup)


def compose(settings: Settings, *, redis_url: str, port: int, is_terminal: bool) -> Settings:
    """The settings of all children. Values that the operator has set stay; paths become absolute."""
    log: dict[str, Any] = {"json_lines": False} if is_terminal else {}
    return settings.model_copy(
        update={
            "data_dir": settings.data_dir.absolute(),
            "redis": settings.redis.model_copy(update={"url": redis_url}),
            "api": settings.api.model_copy(update={"port": port, "background": True}),
            "worker": _complete(settings.worker, drain_grace_s=DRAIN_GRACE_S),
            "log": _complete(settings.log, **log),
        }
    )


def _complete(group: G, **values: Any) -> G:
    """`group` with `values`, except for fields that are set explicitly."""
    unset = {name: value for name, value in values.items() if name not in group.model_fields_set}
    return group.model_copy(update=unset)


def run_up(
    host: HostOption = None,
    port: PortOption = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Workers of the GPU queue on each device.")] = 1,
) -> None:
    """Run everything on this machine until Ctrl-C.

    Runs the API with the studio, and workers. Without REDIS_URL it runs a private Redis, and without DATABASE_URL it
    uses SQLite. Files are kept in PHOENIX_DATA_DIR, or in ./data if that is unset.
    """
    settings = with_address(read_settings(), host, port)
    with exit_on_error(), ExitStack() as resources:
        _check(settings)
        lock = resources.enter_context(lock_folder(settings.data_dir))
        _check_space(settings)
        stack = _prepare(settings, workers=workers, lock=lock, resources=resources)
        _migrate(stack.settings)
        asyncio.run(stack.run())
        err.print("Phoenix has ended.", style="dim")


def _prepare(settings: Settings, *, workers: int, lock: FolderLock, resources: ExitStack) -> Stack:
    listener = resources.enter_context(listening(settings.api.host, settings.api.port))
    redis = None
    redis_url = settings.redis.url
    if redis_url is None:
        redis = PrivateRedis(find_redis_server(), resources.enter_context(socket_path(settings.data_dir)))
        redis_url = f"unix://{redis.socket}"
    composed = compose(settings, redis_url=redis_url, port=listener.getsockname()[1], is_terminal=sys.stderr.isatty())
    url = url_of(listener)

    def report_ready() -> None:
        lock.write_holder(Holder(url=url))
        out.print(f"{READY_LINE}{url}")
        sys.stdout.flush()

    return Stack(composed, listener, url, workers_per_device=workers, redis=redis, on_ready=report_ready)


def _check(settings: Settings) -> None:
    # Importing the API takes a second. `phoenix up --help` must stay fast.
    from phoenix.cli.preflight import check_named  # noqa: PLC0415

    check_named(settings, serves_api=True, serves_media=True)


def _check_space(settings: Settings) -> None:
    """Warns of disks below the reserve. Phoenix starts all the same, because deleting jobs makes room."""
    from phoenix.db import Ballast  # noqa: PLC0415
    from phoenix.db.engine import database_url, find_sqlite_file  # noqa: PLC0415
    from phoenix.services import open_reserve  # noqa: PLC0415

    for shortage in open_reserve(settings).list_shortages():
        err.print(f"{shortage.explain()} Jobs and uploads are refused: delete jobs, or make room.", style="yellow")
    file = find_sqlite_file(database_url(settings.database, settings.data_dir))
    if file is not None and not (ballast := Ballast(file)).has_space():
        # SQLite cannot open a database without space for its files.
        ballast.give_up()


def _migrate(settings: Settings) -> None:
    # Importing alembic and SQLAlchemy takes half a second. `phoenix up --help` must stay fast.
    from phoenix.db.engine import database_url  # noqa: PLC0415
    from phoenix.db.migrate import upgrade  # noqa: PLC0415

    if not upgrade(database_url(settings.database, settings.data_dir)):
        err.print(NEWER_SCHEMA)
