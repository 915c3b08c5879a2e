"""Sends a stored file: whole or in ranges, with validators, so that players can seek and downloads can resume."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, StreamingResponse

from phoenix.api.conditions import is_expected, is_unchanged, may_resume
from phoenix.api.ranges import ByteRange, UnsatisfiableRange, parse_ranges
from phoenix.errors import PreconditionFailed
from phoenix.jobs.tables import ArtifactRow
from phoenix.storage.keys import media_type_of
from phoenix.storage.store import ArtifactStore


@dataclass(frozen=True)
class StoredFile:
    """A file as a client sees it."""

    key: str
    media_type: str
    size_bytes: int
    sha256: str
    filename: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'


def as_file(artifact: ArtifactRow, *, stem: str) -> StoredFile:
    """An artifact under its own name, or under `stem` and the ending of what was made."""
    filename = artifact.filename or stem + PurePosixPath(artifact.key).suffix
    return StoredFile(artifact.key, artifact.media_type, artifact.size_bytes, artifact.sha256, filename)


async def send_file(
    request: Request, store: ArtifactStore, file: StoredFile, *, link_s: float | None = None
) -> Response:
    """200, 206, 304 or 416; 307 to the store itself, with a link good for `link_s`, where it can make one.

    Raises `PreconditionFailed`, and `ObjectMissing` if there is a row but no file.
    """
    headers = {
        "ETag": file.etag,
        "Accept-Ranges": "bytes",
        # Its bytes never change, but it may be deleted, and it is its owner's alone.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(file.filename),
        "X-Content-Type-Options": "nosniff",
    }
    if not is_expected(request.headers.get("if-match"), file.etag):
        raise PreconditionFailed
    if is_unchanged(request.headers.get("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    # Asked before the status is sent: after that, a missing file could only be told by breaking off.
    await store.size(file.key)
    ranges = _wanted_ranges(request, file)
    if len(ranges) > 1:
        return _send_many(request, store, file, headers, ranges)
    if link_s is not None and _may_redirect(request, file) and (link := await store.signed_url(file.key, link_s)):
        return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
    whole = ByteRange(0, file.size_bytes)
    chosen = ranges[0] if ranges else whole
    if ranges:
        headers["Content-Range"] = chosen.content_range(file.size_bytes)
    headers |= {"Content-Type": file.media_type, "Content-Length": str(chosen.size_bytes)}
    body = store.read(file.key, chosen.start, chosen.stop)
    return _respond(request, 206 if ranges else 200, headers, body)


def disposition(filename: str) -> str:
    """Shown in the browser, and saved under this name; in ASCII for old clients and in UTF-8 for the others."""
    plain = filename.encode("ascii", errors="replace").decode().replace('"', "'").replace("\\", "_")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _may_redirect(request: Request, file: StoredFile) -> bool:
    """Whether the store would answer as we do. Not for an upload, whose type and name only we know.

    A store has validators of its own, so what names one of ours would fail there; and a page may be forbidden, by its
    own policy or for want of CORS, to take a part of itself from elsewhere.
    """
    is_plain = request.method == "GET" and not {"if-range", "if-match"} & set(request.headers)
    is_part_of_page = request.headers.get("sec-fetch-dest", "document") != "document"
    return is_plain and not is_part_of_page and media_type_of(file.key) == file.media_type


def _wanted_ranges(request: Request, file: StoredFile) -> Sequence[ByteRange]:
    if not may_resume(request.headers.get("if-range"), file.etag):
        return ()
    try:
        return parse_ranges(request.headers.get("range"), file.size_bytes)
    except UnsatisfiableRange:
        detail = f"The file has {file.size_bytes} bytes; none of the ranges lies within."
        raise HTTPException(416, detail, headers={"Content-Range": f"bytes */{file.size_bytes}"}) from None


def _send_many(
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
