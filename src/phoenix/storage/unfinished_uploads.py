"""Aborts unfinished multipart uploads. S3 stores, hides and bills their parts until the upload is aborted.

obstore cannot list or abort the uploads of another process. boto3, which the extra `s3` installs, can.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol
from urllib.parse import urlsplit

from phoenix.settings import StorageSettings
from phoenix.storage.errors import StoreFailed
from phoenix.storage.keys import checked_prefix, is_key

PAGE_UPLOADS = 100
_CONNECT_LIMIT_S = 5

_Found = dict[str, Any]


class S3Client(Protocol):
    """The part of boto3's client that is used."""

    def list_multipart_uploads(self, **query: Any) -> _Found: ...

    def abort_multipart_upload(self, **upload: Any) -> object: ...


class UnfinishedUploads:
    """The unfinished uploads of a bucket under a prefix."""

    def __init__(self, open_client: Callable[[], S3Client], bucket: str, prefix: str) -> None:
        self._open_client = open_client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    async def abort_started_before(self, folder: str, before: datetime) -> AsyncIterator[int]:
        """Aborts uploads of object keys in `folder` that began before `before` (clock of the store).

        Yields the number of aborted uploads after each page of at most 100 uploads. Raises `StoreFailed`.
        """
        query: _Found = {"Prefix": f"{self._prefix}{checked_prefix(folder)}/", "MaxUploads": PAGE_UPLOADS}
        while True:
            with _translate_errors():
                page = await asyncio.to_thread(self._list, query)
                old = [upload for upload in page.get("Uploads", ()) if self._is_stale(upload, before)]
                await asyncio.to_thread(self._abort, old)
            yield len(old)
            if not page.get("IsTruncated"):
                return
            query |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _is_stale(self, upload: _Found, before: datetime) -> bool:
        path: str = upload["Key"]
        is_ours = path.startswith(self._prefix) and is_key(path.removeprefix(self._prefix))
        return is_ours and upload["Initiated"] < before

    @cached_property
    def _client(self) -> S3Client:
        # Lazy, because the import takes half a second, and only one process does this clean-up.
        return self._open_client()

    def _list(self, query: _Found) -> _Found:
        return self._client.list_multipart_uploads(Bucket=self._bucket, **query)

    def _abort(self, uploads: Sequence[_Found]) -> None:
        for upload in uploads:
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            except Exception as error:
                # A 404: another process has completed or aborted the upload.
                if _status_of(error) != 404:
                    raise


def open_unfinished(settings: StorageSettings) -> UnfinishedUploads | None:
    """Returns the unfinished uploads of the bucket of an `s3://` URL; None if boto3 is not installed.

    Without keys in the settings, boto3 reads the `AWS_` variables, its configuration files and the instance metadata.
    """
    if find_spec("boto3") is None:
        return None
    url = urlsplit(settings.url or "")
    return UnfinishedUploads(partial(_open_client, settings), url.netloc, url.path.strip("/"))


def _open_client(settings: StorageSettings) -> S3Client:
    session, config = import_module("boto3.session").Session(), import_module("botocore.config").Config
    secret = settings.s3_secret_access_key
    return session.client(
        "s3",
        region_name=settings.s3_region,
        endpoint_url=settings.s3_endpoint,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=config(
            connect_timeout=_CONNECT_LIMIT_S,
            read_timeout=settings.request_timeout_s,
            retries={"total_max_attempts": settings.max_retries + 1},
            s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
        ),
    )


def _status_of(error: Exception) -> int | None:
    """Returns the HTTP status of a botocore `ClientError`, whose class cannot be imported without boto3."""
    response: _Found = getattr(error, "response", {})
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")


@contextmanager
def _translate_errors() -> Generator[None]:
    try:
        yield
    except Exception as error:
        # The errors of botocore have no other common base class.
        raise StoreFailed(f"The store did not list or abort its unfinished uploads: {error}") from error
