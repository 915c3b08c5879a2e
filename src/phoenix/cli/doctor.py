"""Checks what this machine has and lacks. Each check maps the settings to one finding, and leaves nothing behind."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

# Imported, because a schema is compared with the tables that were imported.
from phoenix.access import tables as access_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.fit import Fit
from phoenix.catalog.model import ModelSpec
from phoenix.child_processes import output_of
from phoenix.cli.console import NEWER_SCHEMA, format_gigabytes
from phoenix.cli.diagnosis.extras import check_credentials, check_lipsync, check_search
from phoenix.cli.diagnosis.finding import CheckStatus, Finding
from phoenix.cli.diagnosis.object_store import check_object_store
from phoenix.cli.diagnosis.writers_and_voices import check_llm, check_voice
from phoenix.cli.embedded.redis_server import find_redis_server
from phoenix.db.engine import database_url
from phoenix.db.schema import SchemaAge, read_schema
from phoenix.disk_space import is_full_disk, read_free_bytes
from phoenix.engine.readiness import (
    card_of_machine,
    find_postprocessing_fault,
    list_gpus,
    machine_of,
    survey,
    too_large,
)
from phoenix.errors import PhoenixError, install_extra
from phoenix.events.pubsub.redis_client import open_redis, send
from phoenix.jobs.scheduling.leader_lease import has_leader
from phoenix.jobs.webhooks import tables as webhook_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from phoenix.media.captions.font import CAPTION_FILTER, NO_LIBASS
from phoenix.media.encoders import EncoderUnusable, choose_encoder
from phoenix.media.ffmpeg import find_ffmpeg, has_filter
from phoenix.media.self_test import run_self_test
from phoenix.services import open_database, open_reserve
from phoenix.settings import Settings
from phoenix.speech.voices import NO_ENGINE

CHECK_TIMEOUT_S = 30
LITTLE_SPACE_BYTES = 5 * 2**30
"""Less free space is a finding: clips, frames and the result of a reel are on disk at the same time."""


OTHER_NAMES = {"CONFIG", "URL", "API_KEY", "PUBLISH", "LIFELINE_FD"}
"""Names after `PHOENIX_` that are not settings. Commands, compose files and child processes read them."""


async def examine(settings: Settings, checks: Mapping[str, "Check"] | None = None) -> list[Finding]:
    """The findings of all checks, in order. Takes at most `CHECK_TIMEOUT_S`."""
    chosen = CHECKS if checks is None else checks
    return await asyncio.gather(*(_run(name, check, settings) for name, check in chosen.items()))


async def _run(name: str, check: "Check", settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check(settings)
    except TimeoutError:
        return Finding(name, CheckStatus.MISSING, f"no answer within {CHECK_TIMEOUT_S} s", REMEDIES[name])
    except (PhoenixError, SQLAlchemyError, RedisError, OSError, ValueError) as error:
        return Finding(name, CheckStatus.MISSING, str(error).splitlines()[0], REMEDIES[name])


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
    encoders = await output_of(ffmpeg, "-hide_banner", "-encoders")
    absent = [name for name in ("libx264", "aac") if f" {name} " not in encoders]
    if absent:
        return Finding("ffmpeg", CheckStatus.MISSING, f"{ffmpeg} cannot encode {', '.join(absent)}", REMEDIES["ffmpeg"])
    try:
        tools, choice = await asyncio.to_thread(choose_encoder, settings.media)
    except EncoderUnusable as error:
        return Finding("ffmpeg", CheckStatus.MISSING, error.detail, "Set PHOENIX_MEDIA__ENCODER to auto or software.")
    await asyncio.to_thread(run_self_test, tools)
    if not await asyncio.to_thread(has_filter, ffmpeg, CAPTION_FILTER):
        return Finding("ffmpeg", CheckStatus.NOTE, f"{ffmpeg} has no libass: captions cannot be burned in", NO_LIBASS)
    chosen = f"; it encodes by {choice.encoder}: {choice.reason}"
    return Finding("ffmpeg", CheckStatus.OK, f"{ffmpeg}, which made a tiny reel{chosen}")


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


async def check_background(settings: Settings) -> Finding:
    """Looks for the process that dispatches, because without it every job waits."""
    if settings.api.background:
        return Finding("background", CheckStatus.OK, "each API replica runs the background services")
    database = open_database(settings)
    try:
        async with database.read() as session:
            is_running = await has_leader(session, "dispatcher")
    finally:
        await database.close()
    if not is_running:
        return Finding("background", CheckStatus.MISSING, "no process dispatches: jobs wait", REMEDIES["background"])
    return Finding("background", CheckStatus.OK, "a process runs the background services")


async def check_storage(settings: Settings) -> Finding:
    if settings.storage.url is None:
        folder = _nearest_folder(settings.data_dir)
        try:
            await asyncio.to_thread(_write_and_delete, folder)
        except OSError as error:
            remedy = SPACE_REMEDY if is_full_disk(error) else REMEDIES["storage"]
            return Finding("storage", CheckStatus.MISSING, f"{folder} cannot be written: {error.strerror}", remedy)
        return Finding("storage", CheckStatus.OK, f"in {settings.data_dir.absolute()}")
    return await check_object_store(settings.storage, settings.data_dir)


async def check_space(settings: Settings) -> Finding:
    free_bytes = read_free_bytes(settings.data_dir)
    free = f"{free_bytes / 2**30:.1f} GiB free at {settings.data_dir.absolute()}"
    if (shortage := open_reserve(settings).find_shortage()) is not None:
        detail = f"{shortage.explain()} Jobs and uploads are refused."
        return Finding("disk space", CheckStatus.MISSING, detail, SPACE_REMEDY)
    if free_bytes < LITTLE_SPACE_BYTES:
        return Finding("disk space", CheckStatus.NOTE, free, "Make room, or point PHOENIX_DATA_DIR at a larger disk.")
    return Finding("disk space", CheckStatus.OK, free)


async def check_gpu(_settings: Settings) -> Finding:
    if find_spec("torch") is None:
        detail = "no torch: local diffusion models cannot be served"
        return Finding("GPU", CheckStatus.NOTE, detail, f"On machines with a GPU, {install_extra('worker')}.")
    gpus = await list_gpus()
    if not gpus:
        detail = "torch can use none: diffusion models would run on the CPU"
        return Finding("GPU", CheckStatus.NOTE, detail, REMEDIES["GPU"])
    shown = [
        f"{gpu.name} with {format_gigabytes(gpu.free_bytes)} of {format_gigabytes(gpu.total_bytes)} free"
        for gpu in gpus
    ]
    return Finding("GPU", CheckStatus.OK, ", ".join(shown))


async def check_models(settings: Settings) -> Finding:
    """Looks for the weights of every model, and explains those that a server of this machine would need at once."""
    catalog = load_catalog(settings.engine.catalog_file)
    gpus = await list_gpus()
    machine = machine_of(gpus, settings.engine)
    look = partial(survey, needed_adapters=catalog.needed_adapters)
    found = await asyncio.to_thread(look, catalog, settings, machine, card_of_machine(gpus, machine))
    named = {settings.engine.default_model, *settings.engine.warm_models}
    ready = [each for each in found if each.obstacle is None]
    for each in found:
        if each.model.id in named and (problem := each.obstacle or too_large(each, machine)):
            return Finding("models", CheckStatus.NOTE, f"{each.model.id} is not served here", f"{problem}. {_MORE}")
    chosen = [f"; {each.model.id}: {choice}" for each in ready for choice in each.choices]
    large = [each.model.id for each in ready if each.fit in (Fit.OFFLOADED, Fit.TOO_LARGE)]
    names = ", ".join(_name_with_devices(each.model) for each in ready)
    detail = f"{len(ready)} of {len(found)} can be served: {names}{''.join(chosen)}"
    if large:
        return Finding("models", CheckStatus.NOTE, f"{detail}; larger than {machine.name}: {', '.join(large)}", _MORE)
    return Finding("models", CheckStatus.OK, detail)


def _name_with_devices(model: ModelSpec) -> str:
    return model.id if model.devices == 1 else f"{model.id} (by a worker with {model.devices} devices)"


async def check_postprocessors(settings: Settings) -> Finding:
    """Opens every upscaler and interpolator, since only its file shows whether a clip could use it."""
    specs = [spec for spec in load_catalog(settings.engine.catalog_file).postprocessors if spec.source is not None]
    if not specs:
        return Finding("upscalers", CheckStatus.OK, "none in the catalog; the interpolator motion needs no weights")
    for spec in specs:
        if fault := await asyncio.to_thread(find_postprocessing_fault, spec):
            return Finding("upscalers", CheckStatus.NOTE, fault, "Clips that ask for it fail until this is mended.")
    return Finding("upscalers", CheckStatus.OK, f"can be used: {', '.join(spec.id for spec in specs)}")


Check = Callable[[Settings], Awaitable[Finding]]

CHECKS: dict[str, Check] = {
    "settings": check_settings,
    "ffmpeg": check_ffmpeg,
    "redis": check_redis,
    "database": check_database,
    "background": check_background,
    "storage": check_storage,
    "disk space": check_space,
    "GPU": check_gpu,
    "models": check_models,
    "upscalers": check_postprocessors,
    "lip-sync": check_lipsync,
    "storyboards": check_llm,
    "voice": check_voice,
    "search": check_search,
    "credentials": check_credentials,
}
SPACE_REMEDY = "Delete jobs with `phoenix jobs delete`, or make room: docs/operations/full-disk.md says how."
REMEDIES = {
    "ffmpeg": f"For an ffmpeg, {install_extra('media')}; or set PHOENIX_MEDIA__FFMPEG.",
    "redis": f"Start Redis, or correct REDIS_URL. Or unset REDIS_URL and {install_extra('embedded')}.",
    "database": f"Start the database, or correct DATABASE_URL. For the driver, {install_extra('postgres')}.",
    "storage": "Correct PHOENIX_STORAGE__URL and its credentials, or the permissions of PHOENIX_DATA_DIR.",
    "background": "Start `phoenix background`, or unset PHOENIX_API__BACKGROUND and restart the API.",
    "settings": "Correct the setting: deploy/env.example lists them all.",
    "disk space": SPACE_REMEDY,
    "GPU": "If there is a GPU, `nvidia-smi` says whether its driver works; a container needs NVIDIA's toolkit too.",
    "models": "Correct the file that PHOENIX_ENGINE__CATALOG_FILE names.",
    "lip-sync": "Correct PHOENIX_LIPSYNC__FACE_DETECTOR or the file that PHOENIX_ENGINE__CATALOG_FILE names.",
    "upscalers": "Correct the file that PHOENIX_ENGINE__CATALOG_FILE names.",
    "storyboards": "Correct PHOENIX_LLM__BASE_URL and PHOENIX_LLM__API_KEY.",
    "voice": NO_ENGINE,
    "search": "Correct PHOENIX_SEARCH__MODEL_DIR, or set PHOENIX_SEARCH__MEANING=off.",
    "credentials": "Correct PHOENIX_C2PA__CERTIFICATE and PHOENIX_C2PA__KEY.",
}
"""What to do if a check fails, or gets no answer."""
_MORE = "`phoenix models here` lists all models with their weights and memory."


def _write_and_delete(folder: Path) -> None:
    with TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())


def _nearest_folder(path: Path) -> Path:
    """The folder itself, or its nearest ancestor that exists."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _exists(path: str | None) -> bool:
    return path is not None and Path(path).exists()
