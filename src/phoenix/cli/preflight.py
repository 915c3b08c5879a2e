"""Finds what settings name but is not there, before anything is started that would only say so in a traceback."""

from phoenix.catalog.model import CatalogError, load_catalog
from phoenix.media.ssrf import EgressPolicy, tls_context
from phoenix.settings import Settings


def check_named(settings: Settings, *, serves_api: bool, serves_media: bool) -> None:
    """Looks for the models and the files that processes of these kinds need.

    Raises `CatalogError` and `CaFileUnusable`, which name the file or the setting.
    """
    catalog, wanted = load_catalog(settings.engine.catalog_file), settings.engine.default_model
    if wanted not in catalog:
        known = ", ".join(spec.id for spec in catalog)
        raise CatalogError(f"PHOENIX_ENGINE__DEFAULT_MODEL: there is no model {wanted!r}; there are: {known}")
    if serves_api:
        tls_context(EgressPolicy.for_webhooks(settings.webhooks))
    if serves_media:
        tls_context(EgressPolicy.from_settings(settings.media))
