"""Opens buckets: of S3 and servers that speak it, of Google Cloud Storage, and containers of Azure Blob Storage."""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from phoenix.settings import StorageSettings
from phoenix.storage.errors import StoreFailed

if TYPE_CHECKING:  # obstore defines its configuration types for checkers only
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

BucketClient = S3Store | GCSStore | AzureStore
"""The stores that keep the media type of an object, and sign URLs."""

_CONNECT_LIMIT = timedelta(seconds=5)


def open_bucket(settings: StorageSettings) -> BucketClient:
    """Returns a client of the bucket and prefix of `settings.url`. Sends nothing to the bucket.

    Without keys in the settings, obstore reads the variables of the provider (`AWS_`, `GOOGLE_`, `AZURE_`), and then
    asks for the identity of the machine. Raises `StoreFailed` for a key that it cannot read.
    """
    url = urlsplit(settings.url or "")
    bucket, prefix = url.netloc, url.path.strip("/") or None
    options, retries = _client_options(settings), _retry_config(settings)
    try:
        match settings.scheme:
            case "gs":
                google = _gcs_config(settings)
                return GCSStore(bucket, prefix=prefix, config=google, client_options=options, retry_config=retries)
            case "az":
                azure = _azure_config(settings)
                return AzureStore(bucket, prefix=prefix, config=azure, client_options=options, retry_config=retries)
            case _:
                s3 = _s3_config(settings)
                return S3Store(bucket, prefix=prefix, config=s3, client_options=options, retry_config=retries)
    except BaseError as error:
        # obstore appends a debug dump after the first line.
        reason = str(error).split("\n", 1)[0]
        raise StoreFailed(f"{settings.url} cannot be opened: {reason}") from error


def bucket_address(settings: StorageSettings) -> str | None:
    """Returns the URL of the server of the bucket; None for a folder."""
    match settings.scheme:
        case "s3":
            return settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com"
        case "gs":
            return settings.gcs_endpoint or "https://storage.googleapis.com"
        case "az":
            return settings.azure_endpoint or f"https://{settings.azure_account}.blob.core.windows.net"
        case _:
            return None


def _s3_config(settings: StorageSettings) -> "S3Config":
    config: S3Config = {"region": settings.s3_region}
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        config["access_key_id"] = settings.s3_access_key_id
        config["secret_access_key"] = settings.s3_secret_access_key.get_secret_value()
    if settings.s3_endpoint:
        config["endpoint"] = settings.s3_endpoint
    return config


def _gcs_config(settings: StorageSettings) -> "GCSConfig":
    config: GCSConfig = {}
    if settings.gcs_key_file:
        config["service_account"] = str(settings.gcs_key_file)
    if settings.gcs_endpoint:
        config["base_url"] = settings.gcs_endpoint
    return config


def _azure_config(settings: StorageSettings) -> "AzureConfig":
    config: AzureConfig = {}
    if settings.azure_account:
        config["account_name"] = settings.azure_account
    if settings.azure_key:
        config["account_key"] = settings.azure_key.get_secret_value()
    if settings.azure_endpoint:
        config["endpoint"] = settings.azure_endpoint
    return config


def _client_options(settings: StorageSettings) -> "ClientConfig":
    is_plain_http = (bucket_address(settings) or "").startswith("http://")
    limit = timedelta(seconds=settings.request_timeout_s)
    return {"allow_http": is_plain_http, "timeout": limit, "connect_timeout": min(limit, _CONNECT_LIMIT)}


def _retry_config(settings: StorageSettings) -> "RetryConfig":
    # By default, obstore retries ten times in three minutes, which is longer than callers wait.
    limit = timedelta(seconds=settings.request_timeout_s)
    return {"max_retries": settings.max_retries, "retry_timeout": limit * (settings.max_retries + 1)}
