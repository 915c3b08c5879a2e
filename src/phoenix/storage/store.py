"""The object store: whole objects in, ranges of bytes out. Objects appear complete or not at all."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import LocalStore, ObjectStore, S3Store

from phoenix.errors import PayloadTooLarge
from phoenix.settings import StorageSettings
from phoenix.storage.errors import translate_store_errors
from phoenix.storage.keys import checked_key, checked_prefix, is_key, media_type_of
from phoenix.storage.unfinished import UnfinishedUploads, open_unfinished

if TYPE_CHECKING:  # obstore defines its configuration types for checkers only
    from obstore.store import S3Config

CHUNK_BYTES = 1024 * 1024
PAGE_OBJECTS = 500
# obstore holds up to this many parts of 5 MiB in memory for each upload; its default is 12.
_PARTS_IN_FLIGHT = 3
_ABORT_LIMIT_S = 5
_CONNECT_LIMIT = timedelta(seconds=5)


@dataclass(frozen=True)
class StoredObject:
    """The size of a written object, and its SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ListedObject:
    """An entry of a listing. `key` may be any name, even one that is not ours."""

    key: str
    modified_at: datetime


class ArtifactStore:
    """One interface over obstore's stores. Keys come from `storage.keys`; any other text is a `ValueError`.

    Every call raises `StoreFailed` when the store is full, away or forbids it, and `ObjectMissing` for a key
    that is not there. `local_root` is the folder of a local store, whose files are flushed to disk before a
    put returns, so that what the database calls done survives a power cut.
    """

    def __init__(
        self, store: ObjectStore, *, local_root: Path | None = None, unfinished: UnfinishedUploads | None = None
    ) -> None:
        self._store = store
        self._local_root = local_root
        self._unfinished = unfinished

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """Stores the file at `path`, which stays where it is."""
        with await asyncio.to_thread(path.open, "rb") as file:
            return await self.put_stream(key, _chunks_of(file), max_bytes=None)

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], max_bytes: int | None) -> StoredObject:
        """Stores the bytes as they come. If `chunks` raises, so does this, and nothing is stored.

        Raises `PayloadTooLarge` as soon as there are more than `max_bytes`.
        """
        measured = _MeasuredStream(chunks, max_bytes)
        with translate_store_errors(checked_key(key), is_put=True):
            # A multipart upload (a staged file, for a local store) that obstore publishes at the end.
            await _put_or_abort(
                obstore.put_async(
                    self._store, key, measured, max_concurrency=_PARTS_IN_FLIGHT, attributes=self._attributes(key)
                ),
                measured,
            )
            if self._local_root is not None:
                await asyncio.to_thread(_flush_to_disk, self._local_root / key)
        return measured.total()

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, or to the object's end; in chunks of 1 MiB."""
        stop = await self.size(key) if end is None else end
        # One request per chunk: with a slow reader, one long response would run into the store's time limit.
        for position in range(start, stop, CHUNK_BYTES):
            with translate_store_errors(checked_key(key)):
                chunk = await obstore.get_range_async(
                    self._store, key, start=position, end=min(position + CHUNK_BYTES, stop)
                )
            yield chunk.to_bytes()

    async def size(self, key: str) -> int:
        """Size of the object in bytes."""
        with translate_store_errors(checked_key(key)):
            return (await obstore.head_async(self._store, key))["size"]

    async def download_to(self, key: str, path: Path) -> int:
        """Copies the object to `path`, which appears only when complete. Returns its size in bytes."""
        partial = path.with_name(path.name + ".part")
        size_bytes = 0
        try:
            with translate_store_errors(key), await asyncio.to_thread(partial.open, "wb") as file:
                async for chunk in self.read(key):
                    size_bytes += await asyncio.to_thread(file.write, chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return size_bytes

    async def delete(self, key: str) -> None:
        """Deletes the object; harmless if it does not exist."""
        with translate_store_errors(checked_key(key)):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    async def list_prefix(self, prefix: str) -> list[str]:
        """Keys of the objects under the folder `prefix`, sorted."""
        with translate_store_errors(checked_prefix(prefix)):
            # Its overloads for Arrow tables name a type that is not installed.
            listing = obstore.list(self._store, prefix)  # pyright: ignore[reportUnknownMemberType]
            found = await listing.collect_async()
        return sorted(meta["path"] for meta in found)

    async def pages(self, prefix: str, *, page_size: int = PAGE_OBJECTS) -> AsyncIterator[list[ListedObject]]:
        """Pages of all objects under `prefix`, at most `page_size` each, in no order; foreign names included."""
        with translate_store_errors(checked_prefix(prefix)):
            async for page in obstore.list(self._store, prefix, chunk_size=page_size):  # pyright: ignore[reportUnknownMemberType]
                yield [ListedObject(meta["path"], meta["last_modified"]) for meta in page]

    async def remove_staged(self, prefix: str, before: datetime) -> AsyncIterator[int]:
        """Deletes what puts that died before `before` (on the store's clock) left under the folder `prefix`.

        A little at a time; yields how many. Leaves files with foreign names alone, and does nothing in a bucket if
        boto3 is not installed.
        """
        if self._local_root is not None:
            with translate_store_errors(checked_prefix(prefix)):
                yield await asyncio.to_thread(_remove_staged, self._local_root, prefix, before)
        elif self._unfinished is not None:
            async for count in self._unfinished.abort_started_before(prefix, before):
                yield count

    async def delete_prefix(self, prefix: str) -> int:
        """Removes every object under the folder `prefix`. Returns how many there were."""
        keys = await self.list_prefix(prefix)
        for key in keys:
            await self.delete(key)
        return len(keys)

    async def signed_url(self, key: str, expires_s: float) -> str | None:
        """A URL that anyone may GET for `expires_s`; None if the store cannot sign, like a local folder.

        Responses have the media type of the key's suffix. The store is not asked: the key may be missing.
        """
        with translate_store_errors(checked_key(key)):
            if not isinstance(self._store, S3Store):
                return None
            return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=expires_s))

    def _attributes(self, key: str) -> dict[str, str] | None:
        """Attributes that only a bucket keeps: the media type for browsers that follow a signed URL."""
        media_type = media_type_of(key)
        return {"Content-Type": media_type} if media_type and isinstance(self._store, S3Store) else None


class _MeasuredStream:
    """Passes chunks on, measuring their size and digest; refuses more than `max_bytes`."""

    def __init__(self, chunks: AsyncIterator[bytes], max_bytes: int | None) -> None:
        self._chunks = chunks
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._digest = hashlib.sha256()
        self._reading: asyncio.Task[object] | None = None
        self._is_cancelled = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def cancel(self) -> None:
        """Makes the consumer's current or next wait for a chunk raise."""
        self._is_cancelled = True
        if self._reading is not None:
            self._reading.cancel()

    async def __anext__(self) -> bytes:
        self._reading = asyncio.current_task()
        try:
            if self._is_cancelled:
                raise _PutCancelled
            chunk = await anext(self._chunks)
        except asyncio.CancelledError:
            raise _PutCancelled from None
        finally:
            self._reading = None
        self._size_bytes += len(chunk)
        if self._max_bytes is not None and self._size_bytes > self._max_bytes:
            raise PayloadTooLarge(f"The file is larger than {self._max_bytes} bytes.")
        self._digest.update(chunk)
        return chunk

    def total(self) -> StoredObject:
        return StoredObject(self._size_bytes, self._digest.hexdigest())


class _PutCancelled(Exception):
    """The put was cancelled."""


async def _put_or_abort(put: Awaitable[object], source: _MeasuredStream) -> None:
    """Waits for the put, and passes a cancellation on to its source. When the source raises, obstore aborts the upload,
    which would otherwise be kept, unseen but billed; not so when obstore itself is cancelled (tested on S3).
    """
    putting = asyncio.ensure_future(put)
    try:
        await asyncio.shield(putting)
    except asyncio.CancelledError:
        source.cancel()
        await asyncio.wait([putting], timeout=_ABORT_LIMIT_S)
        putting.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


async def _chunks_of(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk


def _remove_staged(root: Path, prefix: str, before: datetime) -> int:
    """Deletes old staged files: obstore writes `name#1`, renames it when complete, and never lists it."""
    found = [path for path in (root / prefix).rglob("*#*") if _is_staged(path.relative_to(root)) and path.is_file()]
    old = [path for path in found if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _is_staged(path: Path) -> bool:
    key, _, number = path.as_posix().rpartition("#")
    return is_key(key) and number.isdecimal()


def _flush_to_disk(path: Path) -> None:
    """Makes the file and its name survive a power cut: a rename is durable once its folder is flushed."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
        client_options={"allow_http": is_plain_http, "timeout": limit, "connect_timeout": min(limit, _CONNECT_LIMIT)},
        # By default obstore retries ten times over three minutes: longer than callers wait.
        retry_config={"max_retries": settings.max_retries, "retry_timeout": limit * (settings.max_retries + 1)},
    )
    return ArtifactStore(store, unfinished=open_unfinished(bucket, prefix, settings))
