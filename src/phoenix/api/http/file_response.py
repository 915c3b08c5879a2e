"""Sends a stored file: whole or in ranges, with validators, so that players can seek and downloads can resume."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, StreamingResponse

from phoenix.api.http.conditional import is_not_modified, passes_if_match, passes_if_range
from phoenix.api.http.ranges import ByteRange, UnsatisfiableRange, parse_ranges
from phoenix.errors import PreconditionFailed
from phoenix.jobs.tables import ArtifactRow
from phoenix.storage.keys import media_type_of
from phoenix.storage.store import ArtifactStore


@dataclass(frozen=True)
class StoredFile:
    """A stored file, with the properties that the response shows."""

    key: str
    media_type: str
    size_bytes: int
    sha256: str
    filename: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'


def as_file(artifact: ArtifactRow, *, stem: str) -> StoredFile:
    """The file of an artifact. Its name is the name of the upload, or `stem` with the suffix of the key."""
    filename = artifact.filename or stem + PurePosixPath(artifact.key).suffix
    return StoredFile(artifact.key, artifact.media_type, artifact.size_bytes, artifact.sha256, filename)


async def send_file(
    request: Request,
    store: ArtifactStore,
    file: StoredFile,
    take_slot: Callable[[], Awaitable[None]],
    *,
    link_s: float | None = None,
) -> Response:
    """Responds with 200, 206 or 304, or with 307 to a URL that the store has signed for `link_s` seconds.

    Calls `take_slot` before a response with bytes of the file. Raises its errors, `PreconditionFailed`, 416 as an
    `HTTPException`, and `ObjectMissing` if there is a row but no file.
    """
    headers = {
        "ETag": file.etag,
        "Accept-Ranges": "bytes",
        # The bytes never change, but the file may be deleted, and only its owner may see it.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(file.filename),
        "X-Content-Type-Options": "nosniff",
    }
    if not passes_if_match(request.headers.get("if-match"), file.etag):
        raise PreconditionFailed
    if is_not_modified(request.headers.get("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    # Checked before the status is sent: later, a missing file could only break the response off.
    await store.size(file.key)
    ranges = _requested_ranges(request, file)
    is_single = len(ranges) <= 1 and _may_redirect(request, file)
    if is_single and link_s is not None and (link := await store.signed_url(file.key, link_s)):
        return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
    if request.method != "HEAD":
        await take_slot()
    if len(ranges) > 1:
        return _send_ranges(request, store, file, headers, ranges)
    return _send_range(request, store, file, headers, ranges[0] if ranges else None)


def disposition(filename: str) -> str:
    """A Content-Disposition that shows the file inline, with its name in ASCII for old clients and in UTF-8."""
    plain = filename.encode("ascii", errors="replace").decode().replace('"', "'").replace("\\", "_")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _may_redirect(request: Request, file: StoredFile) -> bool:
    """Whether the store would send the same response. It would not for an upload, as it does not know the media type.

    The store has its own ETags, so a request with an ETag of Phoenix would fail there. And a page may be forbidden, by
    its own policy or by missing CORS headers, to load media from another origin.
    """
    is_plain = request.method == "GET" and not {"if-range", "if-match"} & set(request.headers)
    is_part_of_page = request.headers.get("sec-fetch-dest", "document") != "document"
    return is_plain and not is_part_of_page and media_type_of(file.key) == file.media_type


def _requested_ranges(request: Request, file: StoredFile) -> Sequence[ByteRange]:
    if not passes_if_range(request.headers.get("if-range"), file.etag):
        return ()
    try:
        return parse_ranges(request.headers.get("range"), file.size_bytes)
    except UnsatisfiableRange:
        detail = f"The file has {file.size_bytes} bytes; none of the ranges lies within it."
        raise HTTPException(416, detail, headers={"Content-Range": f"bytes */{file.size_bytes}"}) from None


def _send_range(
    request: Request, store: ArtifactStore, file: StoredFile, headers: dict[str, str], part: ByteRange | None
) -> Response:
    """One range of the file, or all of it."""
    sent = part or ByteRange(0, file.size_bytes)
    headers |= {"Content-Type": file.media_type, "Content-Length": str(sent.size_bytes)}
    if part is not None:
        headers["Content-Range"] = part.content_range(file.size_bytes)
    body = store.read(file.key, sent.start, sent.stop)
    return _respond(request, 200 if part is None else 206, headers, body)


def _send_ranges(
    request: Request, store: ArtifactStore, file: StoredFile, headers: dict[str, str], ranges: Sequence[ByteRange]
) -> Response:
    boundary = secrets.token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {file.media_type}\r\n"
        f"Content-Range: {one.content_range(file.size_bytes)}\r\n\r\n".encode()
        for one in ranges
    ]
    end = f"\r\n--{boundary}--\r\n".encode()

    async def body() -> AsyncIterator[bytes]:
        for head, one in zip(heads, ranges, strict=True):
            yield head
            async for chunk in store.read(file.key, one.start, one.stop):
                yield chunk
        yield end

    length = sum(map(len, heads)) + sum(one.size_bytes for one in ranges) + len(end)
    headers |= {"Content-Type": f"multipart/byteranges; boundary={boundary}", "Content-Length": str(length)}
    return _respond(request, 206, headers, body())


def _respond(request: Request, status: int, headers: dict[str, str], body: AsyncIterator[bytes]) -> Response:
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(body, status_code=status, headers=headers)
