"""Checks what this machine has and lacks. Each check maps the settings to one finding, and leaves nothing behind."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

# Imported, because a schema is compared with the tables that were imported.
from phoenix.access import tables as access_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from phoenix.child_processes import stop_process
from phoenix.cli.console import NEWER_SCHEMA
from phoenix.cli.embedded.redis_server import find_redis_server
from phoenix.db.engine import database_url
from phoenix.db.schema import SchemaAge, read_schema
from phoenix.errors import PhoenixError, install_extra
from phoenix.events.pubsub.redis_client import open_redis, send
from phoenix.ids import new_artifact_id
from phoenix.jobs.webhooks import tables as webhook_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from phoenix.media.ffmpeg import MediaTools, find_ffmpeg
from phoenix.media.self_test import run_self_test
from phoenix.settings import Settings
from phoenix.storage.keys import upload_key
from phoenix.storage.store import open_store

CHECK_TIMEOUT_S = 30
LITTLE_SPACE_BYTES = 5 * 2**30
"""Less free space is a finding: clips, frames and the result of a reel are on disk at the same time."""


OTHER_NAMES = {"CONFIG", "URL", "API_KEY", "PUBLISH", "LIFELINE_FD"}
"""Names after `PHOENIX_` that are not settings. Commands, compose files and child processes read them."""


class CheckStatus(Enum):
    """What a check found."""

    OK = "ok"
    NOTE = "note"
    """Phoenix works, except for the part that the finding names."""
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """The result of one check, with a remedy if something is missing."""

    name: str
    status: CheckStatus
    detail: str
    remedy: str = ""


async def examine(settings: Settings, checks: Mapping[str, "Check"] | None = None) -> list[Finding]:
    """The findings of all checks, in order. Takes at most `CHECK_TIMEOUT_S`."""
    chosen = CHECKS if checks is None else checks
    return await asyncio.gather(*(_run(name, check, settings) for name, check in chosen.items()))


async def _run(name: str, check: "Check", settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check(settings)
    except TimeoutError:
        return Finding(name, CheckStatus.MISSING, f"no answer within {CHECK_TIMEOUT_S} s")
    except (PhoenixError, SQLAlchemyError, RedisError, OSError, ValueError) as error:
        return Finding(name, CheckStatus.MISSING, str(error).splitlines()[0], REMEDIES.get(name, ""))


async def check_settings(_settings: Settings) -> Finding:
    file = os.environ.get("PHOENIX_CONFIG")
    if unknown := unknown_names(os.environ):
        detail = f"unknown: {', '.join(unknown)}"
        return Finding("settings", CheckStatus.NOTE, detail, "Correct the name: deploy/env.example lists them all.")
    return Finding("settings", CheckStatus.OK, f"from the environment{f' and from {file}' if file else ''}")


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings but are not. Reading the settings refuses a typo after the group."""
    named = {name: name.removeprefix("PHOENIX_") for name in environment if name.startswith("PHOENIX_")}
    known = {field.upper() for field in Settings.model_fields} | OTHER_NAMES
    return sorted(name for name, rest in named.items() if rest.upper().split("__")[0] not in known)


async def check_ffmpeg(settings: Settings) -> Finding:
    ffmpeg = find_ffmpeg(settings.media.ffmpeg)
    encoders = await _output_of(ffmpeg, "-hide_banner", "-encoders")
    absent = [name for name in ("libx264", "aac") if f" {name} " not in encoders]
    if absent:
        return Finding("ffmpeg", CheckStatus.MISSING, f"{ffmpeg} cannot encode {', '.join(absent)}", REMEDIES["ffmpeg"])
    await asyncio.to_thread(run_self_test, MediaTools.from_settings(settings.media))
    return Finding("ffmpeg", CheckStatus.OK, f"{ffmpeg}, which made a tiny reel")


async def check_redis(settings: Settings) -> Finding:
    if settings.redis.url is None:
        return Finding("redis", CheckStatus.OK, f"`phoenix up` runs its own: {find_redis_server()}")
    redis = open_redis(settings.redis.url, socket_timeout_s=settings.redis.socket_timeout_s)
    try:
        await send(redis, ("PING",))
    finally:
        await redis.aclose()
    return Finding("redis", CheckStatus.OK, "answers")


async def check_database(settings: Settings) -> Finding:
    url = database_url(settings.database, settings.data_dir)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not _exists(url.database):
        return Finding("database", CheckStatus.OK, f"{shown}, which `phoenix up` creates")
    schema = await read_schema(url, settings.database)
    if schema.age is SchemaAge.NEWER:
        detail = f"{shown} has schema {schema.revision}, which is newer than this version"
        return Finding("database", CheckStatus.NOTE, detail, NEWER_SCHEMA)
    if schema.age is SchemaAge.EDITED:
        return Finding("database", CheckStatus.MISSING, f"{shown} {schema.explain_edit()}")
    if not schema.age.is_usable:
        remedy = "Run `phoenix db upgrade`; `phoenix up` upgrades by itself."
        return Finding(
            "database", CheckStatus.NOTE, f"{shown} has schema {schema.revision}, not {schema.newest}", remedy
        )
    return Finding("database", CheckStatus.OK, shown)


async def check_storage(settings: Settings) -> Finding:
    if settings.storage.url is None:
        folder = _nearest_folder(settings.data_dir)
        if not os.access(folder, os.W_OK):
            return Finding("storage", CheckStatus.MISSING, f"{folder} cannot be written", REMEDIES["storage"])
        return Finding("storage", CheckStatus.OK, f"in {settings.data_dir.absolute()}")
    store = open_store(settings.storage, default_folder=settings.data_dir)
    # Only a write shows whether writes are allowed.
    key = upload_key(new_artifact_id())
    await store.put_stream(key, _one_chunk(b"phoenix doctor"), max_bytes=None)
    await store.delete(key)
    return Finding("storage", CheckStatus.OK, settings.storage.url)


async def check_space(settings: Settings) -> Finding:
    free_bytes = shutil.disk_usage(_nearest_folder(settings.data_dir)).free
    free = f"{free_bytes / 2**30:.1f} GiB free at {settings.data_dir.absolute()}"
    if free_bytes < LITTLE_SPACE_BYTES:
        return Finding("disk space", CheckStatus.NOTE, free, "Make room, or point PHOENIX_DATA_DIR at a larger disk.")
    return Finding("disk space", CheckStatus.OK, free)


async def check_gpu(_settings: Settings) -> Finding:
    if find_spec("torch") is None:
        detail = "no torch: local diffusion models cannot be served"
        return Finding("GPU", CheckStatus.NOTE, detail, f"On machines with a GPU, {install_extra('worker')}.")
    names = (await _output_of(sys.executable, "-c", LIST_GPUS)).split("\n")
    gpus = [name for name in names if name]
    if not gpus:
        return Finding("GPU", CheckStatus.NOTE, "torch can use none: diffusion models would run on the CPU")
    return Finding("GPU", CheckStatus.OK, ", ".join(gpus))


Check = Callable[[Settings], Awaitable[Finding]]

CHECKS: dict[str, Check] = {
    "settings": check_settings,
    "ffmpeg": check_ffmpeg,
    "redis": check_redis,
    "database": check_database,
    "storage": check_storage,
    "disk space": check_space,
    "GPU": check_gpu,
}
REMEDIES = {
    "ffmpeg": f"For an ffmpeg, {install_extra('media')}; or set PHOENIX_MEDIA__FFMPEG.",
    "redis": f"Start Redis, or correct REDIS_URL. Or unset REDIS_URL and {install_extra('embedded')}.",
    "database": f"Start the database, or correct DATABASE_URL. For the driver, {install_extra('postgres')}.",
    "storage": "Correct PHOENIX_STORAGE__URL and its credentials, or the permissions of PHOENIX_DATA_DIR.",
}
# Runs in a separate process: torch takes a second and 200 MB, and a broken driver may crash the process.
LIST_GPUS = "import torch\nfor n in range(torch.cuda.device_count()): print(torch.cuda.get_device_name(n))"


async def _output_of(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        output, _ = await process.communicate()
    finally:
        await stop_process(process, grace_s=0)
    return output.decode(errors="replace")


def _nearest_folder(path: Path) -> Path:
    """The folder itself, or its nearest ancestor that exists."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _exists(path: str | None) -> bool:
    return path is not None and Path(path).exists()


async def _one_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content
