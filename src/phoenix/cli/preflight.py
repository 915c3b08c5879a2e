"""Finds what settings name but is not there, and what would be unsafe, before a server or a worker is started."""

import asyncio
from importlib.util import find_spec

import typer

# Imported, because a schema is compared with the tables that were imported.
from phoenix.access import tables as access_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from phoenix.access.host_policy import HostPolicy
from phoenix.catalog.catalog import CatalogError, load_catalog
from phoenix.cli.console import FAILED, NEWER_SCHEMA, err, printable
from phoenix.db.engine import database_url
from phoenix.db.schema import Schema, SchemaAge, read_schema
from phoenix.errors import PhoenixError, install_extra
from phoenix.jobs.webhooks import tables as webhook_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from phoenix.media.ssrf import EgressPolicy, tls_context
from phoenix.settings import Settings
from phoenix.storyboards import tables as storyboard_tables  # noqa: F401  # pyright: ignore[reportUnusedImport]

ANSWER_WITHIN_S = 5.0
"""How long a start waits for the database. A process can also start without it."""


def check_named(settings: Settings, *, serves_api: bool, serves_media: bool) -> None:
    """Checks that the models and files exist which these processes need.

    Raises `CatalogError`, `CaFileUnusable`, `UnsafeSettings` or `PhoenixError` with the name of the file or setting.
    """
    engine = settings.engine
    catalog = load_catalog(engine.catalog_file)
    named = [("ENGINE__DEFAULT_MODEL", engine.default_model)]
    named += [("ENGINE__WARM_MODELS", model) for model in engine.warm_models]
    if serves_api:
        named += [("VIDEOS__MODELS", model) for model in settings.videos.models.values()]
        named += [("VIDEOS__EDIT_MODEL", settings.videos.edit_model)] if settings.videos.edit_model else []
    for setting, wanted in named:
        if wanted not in catalog:
            known = ", ".join(spec.id for spec in catalog)
            raise CatalogError(f"PHOENIX_{setting}: there is no model {wanted!r}; there are: {known}")
    if serves_api:
        _check_llm(settings)
        HostPolicy.from_settings(settings)
        tls_context(EgressPolicy.for_webhooks(settings.webhooks))
    if serves_media:
        tls_context(EgressPolicy.from_settings(settings.media))


def _check_llm(settings: Settings) -> None:
    if settings.llm.is_configured and find_spec("openai") is None:
        raise PhoenixError(f"PHOENIX_LLM__MODEL: the package of language models is missing: {install_extra('llm')}")


def require_schema(settings: Settings) -> None:
    """Ends the command if the database answers and its tables are missing or too old."""
    url = database_url(settings.database, settings.data_dir)

    async def ask() -> Schema:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await read_schema(url, settings.database)

    try:
        schema = asyncio.run(ask())
    except Exception:  # noqa: BLE001 - drivers raise many kinds of errors; the started process logs them and retries
        return
    if schema.age is SchemaAge.NEWER:
        err.print(NEWER_SCHEMA)
    shown = printable(url.render_as_string(hide_password=True))
    if schema.age is SchemaAge.EDITED:
        err.print(f"{shown} {schema.explain_edit()}", style="red")
        raise typer.Exit(FAILED)
    if not schema.age.is_usable:
        lacks = "no tables yet" if schema.age is SchemaAge.MISSING else "the tables of an older version"
        err.print(f"{shown} has {lacks}: run `phoenix db upgrade` first.", style="red")
        raise typer.Exit(FAILED)
