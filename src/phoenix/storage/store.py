"""The object store: writes whole objects, reads ranges of bytes, and is opened by its URL. Writes are atomic."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import PermissionDeniedError
from obstore.store import LocalStore, ObjectStore

from phoenix.errors import PayloadTooLarge
from phoenix.private_files import make_private_folder
from phoenix.settings import StorageSettings
from phoenix.storage.buckets import BucketClient, bucket_address, open_bucket
from phoenix.storage.errors import translate_store_errors
from phoenix.storage.keys import checked_key, checked_prefix, is_key, media_type_of
from phoenix.storage.unfinished_uploads import UnfinishedUploads, open_unfinished

COPY_CHUNK_BYTES = 1024 * 1024
SEND_CHUNK_BYTES = 262_144
"""A client that does not read costs a replica one such chunk."""
PAGE_OBJECTS = 500
# The number of parts of 5 MiB that obstore has in memory for each upload; its default is 12.
_PARTS_IN_FLIGHT = 3
_ABORT_LIMIT_S = 5


@dataclass(frozen=True)
class StoredObject:
    """The size of a written object, and its SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ListedObject:
    """An entry of a listing. `key` may be any name, also a name that is no `ObjectKey`."""

    key: str
    modified_at: datetime


class ArtifactStore:
    """Stores files with obstore. Keys are from `storage.keys`; any other text raises `ValueError`.

    Every method raises `StoreFailed` if the store is full or unreachable or denies access, and `ObjectMissing` for a
    missing key. `local_root` is the folder of a local store: a put flushes its file to disk before it returns, so that
    files of committed tasks survive a power cut.
    """

    def __init__(
        self, store: ObjectStore, *, local_root: Path | None = None, unfinished: UnfinishedUploads | None = None
    ) -> None:
        self.local_root = local_root
        self._store = store
        self._unfinished = unfinished

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """Stores a copy of the file at `path`. Returns its size and digest."""
        with await asyncio.to_thread(path.open, "rb") as file:
            return await self.put_stream(key, _chunks_of(file), max_bytes=None)

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], max_bytes: int | None) -> StoredObject:
        """Stores a stream of bytes.

        Returns its size and digest. Stores nothing if `chunks` raises, and raises that error. Raises `PayloadTooLarge`
        as soon as there are more than `max_bytes`.
        """
        measured = _MeasuredStream(chunks, max_bytes)
        with translate_store_errors(checked_key(key), is_put=True):
            # obstore uploads parts (or writes a staged file in a local store), and publishes the object at the end.
            await _put_or_abort(
                obstore.put_async(
                    self._store, key, measured, max_concurrency=_PARTS_IN_FLIGHT, attributes=self._attributes(key)
                ),
                measured,
            )
            if self.local_root is not None:
                await asyncio.to_thread(_flush_to_disk, self.local_root / key)
        return measured.total()

    async def read(
        self, key: str, start: int = 0, end: int | None = None, *, chunk_bytes: int = SEND_CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """Yields the bytes from `start` to `end` (exclusive), or to the end of the object, in chunks."""
        stop = await self.size(key) if end is None else end
        # One request per chunk: with a slow reader, one long response would reach the time limit of the store.
        for position in range(start, stop, chunk_bytes):
            # Nothing else refers to the chunk while the reader has it: a slow reader would keep it in memory twice.
            yield await self._read_range(key, position, min(position + chunk_bytes, stop))

    async def _read_range(self, key: str, start: int, end: int) -> bytes:
        with translate_store_errors(checked_key(key)):
            return (await obstore.get_range_async(self._store, key, start=start, end=end)).to_bytes()

    async def size(self, key: str) -> int:
        """Returns the size of the object in bytes."""
        with translate_store_errors(checked_key(key)):
            return (await obstore.head_async(self._store, key))["size"]

    async def download_to(self, key: str, path: Path) -> int:
        """Copies the object to `path`, which is created when the copy is complete. Returns the size in bytes."""
        partial = path.with_name(path.name + ".part")
        size_bytes = 0
        try:
            with translate_store_errors(key), await asyncio.to_thread(partial.open, "wb") as file:
                async for chunk in self.read(key, chunk_bytes=COPY_CHUNK_BYTES):
                    size_bytes += await asyncio.to_thread(file.write, chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return size_bytes

    async def delete(self, key: str) -> None:
        """Deletes the object, if it exists."""
        with translate_store_errors(checked_key(key)):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    async def list_prefix(self, prefix: str) -> list[str]:
        """Returns the keys of the objects in the folder `prefix`, sorted."""
        with translate_store_errors(checked_prefix(prefix)):
            # The overloads for Arrow tables use a type that is not installed.
            listing = obstore.list(self._store, prefix)  # pyright: ignore[reportUnknownMemberType]
            found = await listing.collect_async()
        return sorted(meta["path"] for meta in found)

    async def pages(self, prefix: str, *, page_size: int = PAGE_OBJECTS) -> AsyncIterator[list[ListedObject]]:
        """Yields pages of at most `page_size` objects in the folder `prefix`, unsorted, with any names."""
        with translate_store_errors(checked_prefix(prefix)):
            async for page in obstore.list(self._store, prefix, chunk_size=page_size):  # pyright: ignore[reportUnknownMemberType]
                yield [ListedObject(meta["path"], meta["last_modified"]) for meta in page]

    async def remove_staged(self, prefix: str, before: datetime) -> AsyncIterator[int]:
        """Deletes the remains of interrupted puts in the folder `prefix` from before `before` (clock of the store).

        Works in small portions, and yields the number of deletions of each. Deletes only names of Phoenix. Does nothing
        in a bucket if boto3 is not installed.
        """
        if self.local_root is not None:
            with translate_store_errors(checked_prefix(prefix)):
                yield await asyncio.to_thread(_remove_staged, self.local_root, prefix, before)
        elif self._unfinished is not None:
            async for count in self._unfinished.abort_started_before(prefix, before):
                yield count

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes every object in the folder `prefix`. Returns their number."""
        keys = await self.list_prefix(prefix)
        for key in keys:
            await self.delete(key)
        return len(keys)

    async def signed_url(self, key: str, expires_s: float) -> str | None:
        """Returns a URL that anyone may GET for `expires_s`; None if the store cannot or may not sign.

        A local folder cannot, and the identity of a machine often may not. Responses have the media type for the suffix
        of the key. Does not check whether the object exists.
        """
        with translate_store_errors(checked_key(key)):
            if not isinstance(self._store, BucketClient):
                return None
            try:
                return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=expires_s))
            except PermissionDeniedError:
                return None

    def _attributes(self, key: str) -> dict[str, str] | None:
        """Returns attributes for a bucket: the media type, for browsers that follow a signed URL."""
        media_type = media_type_of(key)
        return {"Content-Type": media_type} if media_type and isinstance(self._store, BucketClient) else None


class _MeasuredStream:
    """Measures the size and the digest of a stream. Refuses more than `max_bytes`."""

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
        """Makes the current or the next wait of the consumer raise."""
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
    """Waits for the put. Passes a cancellation to the source of the put.

    obstore aborts the upload if the source raises, but not if obstore itself is cancelled (tested on S3). S3 would
    store, hide and bill the parts of an upload that is not aborted.
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
    while chunk := await asyncio.to_thread(file.read, COPY_CHUNK_BYTES):
        yield chunk


def _remove_staged(root: Path, prefix: str, before: datetime) -> int:
    """Deletes old staged files: obstore writes `name#1`, renames it when complete, and does not list it."""
    found = [path for path in (root / prefix).rglob("*#*") if _is_staged(path.relative_to(root)) and path.is_file()]
    old = [path for path in found if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _is_staged(path: Path) -> bool:
    key, _, number = path.as_posix().rpartition("#")
    return is_key(key) and number.isdecimal()


def _flush_to_disk(path: Path) -> None:
    """Makes the file and its name survive a power cut: a rename is durable after its folder is flushed."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_local_folder(settings: StorageSettings, *, default_folder: Path) -> Path | None:
    """The folder that `open_store` would open; None for a bucket."""
    if settings.url is None:
        return default_folder
    url = urlsplit(settings.url)
    return Path(unquote(url.path)) if url.scheme == "file" else None


def find_link_origin(settings: StorageSettings) -> str | None:
    """Scheme and host of the URLs to which downloads are redirected; None if they are not redirected."""
    address = bucket_address(settings)
    if settings.link_s is None or address is None:
        return None
    url = urlsplit(address)
    return f"{url.scheme}://{url.netloc}"


def open_store(settings: StorageSettings, *, default_folder: Path) -> ArtifactStore:
    """Opens `settings.url`, or `default_folder` if there is no URL. Sends nothing to a bucket.

    Raises `StoreFailed` if obstore cannot read the key of a bucket.
    """
    if settings.url is None:
        make_private_folder(default_folder)
    if (folder := find_local_folder(settings, default_folder=default_folder)) is not None:
        return open_folder(folder)
    unfinished = open_unfinished(settings) if settings.scheme == "s3" else None
    return ArtifactStore(open_bucket(settings), unfinished=unfinished)


def open_folder(folder: Path) -> ArtifactStore:
    """Opens a store in a local folder. Creates the folder if it is missing."""
    root = folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    # Without the clean-up, the empty folders of deleted jobs would stay.
    return ArtifactStore(LocalStore(root, automatic_cleanup=True), local_root=root)
