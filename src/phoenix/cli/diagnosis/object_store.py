"""Checks the object store by a write, since only a write shows whether writes are allowed."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from phoenix.cli.diagnosis.finding import CheckStatus, Finding
from phoenix.ids import new_artifact_id
from phoenix.settings import StorageSettings
from phoenix.storage.errors import StoreFailed
from phoenix.storage.keys import upload_key
from phoenix.storage.store import find_link_origin, open_store


async def check_object_store(storage: StorageSettings, folder: Path) -> Finding:
    """Stores and deletes a small object, and has a URL of it signed if downloads are redirected."""
    store = open_store(storage, default_folder=folder)
    key = upload_key(new_artifact_id())
    try:
        await store.put_stream(key, _one_chunk(b"phoenix doctor"), max_bytes=None)
    except StoreFailed:
        if unset := unset_credentials(storage, os.environ):
            # The error itself is about the address at which a cloud has the credentials of its machines.
            detail = f"{storage.url} cannot be written, and these settings are unset: {', '.join(unset)}"
            return Finding("storage", CheckStatus.MISSING, detail, _KEY_REMEDIES[storage.scheme])
        raise
    try:
        is_signing = find_link_origin(storage) is None or await store.signed_url(key, 60) is not None
    finally:
        await store.delete(key)
    if not is_signing:
        detail = f"{storage.url}, which signs no URLs: downloads pass through the API"
        return Finding("storage", CheckStatus.NOTE, detail, _SIGNING_REMEDY)
    return Finding("storage", CheckStatus.OK, str(storage.url))


def unset_credentials(storage: StorageSettings, environment: Mapping[str, str]) -> list[str]:
    """The settings without which a bucket has no key, and an S3 bucket outside AWS no server. Empty with a key."""
    given = {
        "s3": storage.s3_access_key_id,
        "gs": storage.gcs_key_file,
        "az": storage.azure_key,
    }
    if storage.scheme not in given or given[storage.scheme]:
        return []
    if any(environment.get(name) for name in _CREDENTIALS[storage.scheme]):
        return []
    match storage.scheme:
        case "s3":
            endpoint = [] if storage.s3_endpoint else ["PHOENIX_STORAGE__S3_ENDPOINT"]
            return ["PHOENIX_STORAGE__S3_ACCESS_KEY_ID", "PHOENIX_STORAGE__S3_SECRET_ACCESS_KEY", *endpoint]
        case "gs":
            return ["PHOENIX_STORAGE__GCS_KEY_FILE"]
        case _:
            return ["PHOENIX_STORAGE__AZURE_KEY"]


async def _one_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content


_CREDENTIALS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BEARER_TOKEN",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}
"""Each variable names credentials in place of the settings, and obstore reads it."""
_KEY_REMEDIES = {
    "s3": (
        "Set the key and its secret. The endpoint is for servers other than AWS, whose machines may use a role instead."
    ),
    "gs": "Set the key file of a service account, unless a machine of Google Cloud has an account that may write.",
    "az": "Set an access key, unless a machine of Azure has an identity that may write.",
}
_SIGNING_REMEDY = (
    "Let the identity of the machine sign (docs/operations/buckets.md), or set "
    "PHOENIX_STORAGE__REDIRECT_DOWNLOADS=false."
)
