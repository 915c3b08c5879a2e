"""Opens a store from its URL. The only place that knows which kinds of store there are."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, S3Store

from phoenix.settings import StorageSettings
from phoenix.storage.store import ArtifactStore
from phoenix.storage.unfinished import open_unfinished

if TYPE_CHECKING:  # obstore defines its configuration types for checkers only
    from obstore.store import S3Config

CONNECT_LIMIT = timedelta(seconds=5)


def open_store(settings: StorageSettings, *, default_folder: Path) -> ArtifactStore:
    """Opens `settings.url`, a `file://` or `s3://bucket/prefix` URL, or `default_folder` if it is unset.

    An S3 endpoint is not contacted before the first call.
    """
    if settings.url is None:
        return open_folder(default_folder)
    url = urlsplit(settings.url)
    if url.scheme == "file":
        return open_folder(Path(unquote(url.path)))
    return _open_bucket(url.netloc, url.path.strip("/"), settings)


def open_folder(folder: Path) -> ArtifactStore:
    """A store in a local folder, which is created if missing."""
    root = folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    # Without the clean-up, deleted jobs would leave empty folders behind.
    return ArtifactStore(LocalStore(root, automatic_cleanup=True), local_root=root)


def _open_bucket(bucket: str, prefix: str, settings: StorageSettings) -> ArtifactStore:
    # What is not configured is left out, so that obstore looks in the AWS_ variables and the instance metadata.
    config: S3Config = {"region": settings.s3_region}
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        config["access_key_id"] = settings.s3_access_key_id
        config["secret_access_key"] = settings.s3_secret_access_key.get_secret_value()
    if settings.s3_endpoint:
        config["endpoint"] = settings.s3_endpoint
    is_plain_http = (settings.s3_endpoint or "").startswith("http://")
    limit = timedelta(seconds=settings.request_timeout_s)
    store = S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={"allow_http": is_plain_http, "timeout": limit, "connect_timeout": min(limit, CONNECT_LIMIT)},
        # By default obstore retries ten times over three minutes: longer than callers wait.
        retry_config={"max_retries": settings.max_retries, "retry_timeout": limit * (settings.max_retries + 1)},
    )
    return ArtifactStore(store, unfinished=open_unfinished(bucket, prefix, settings))
