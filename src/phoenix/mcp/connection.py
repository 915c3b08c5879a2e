"""The Phoenix server behind the tools, with the key of each caller."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from mcp.server.context import ServerRequestContext

from phoenix.client import AsyncPhoenix, PhoenixClientError, PhoenixProblem, PhoenixUnreachable, RetryPolicy

# A tool call that waits for long looks like a tool that hangs.
RETRY_POLICY = RetryPolicy(attempts=3, first_delay_s=0.5, longest_delay_s=10)
MEDIA_TIMEOUT_S = 60
_Request = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class PhoenixConnection:
    """Where Phoenix is. `api_key`: for callers over stdio, who are the user that started this process."""

    url: str
    api_key: str | None = None

    @asynccontextmanager
    async def open(self, request: _Request) -> AsyncGenerator[AsyncPhoenix]:
        """A client with the key of the caller.

        A caller over HTTP brings a key of its own. It never gets the key of this process, which anybody who reaches
        the port could use otherwise.
        """
        headers = _headers_of(request)
        key = self.api_key if headers is None else _bearer(headers.get("authorization"))
        async with AsyncPhoenix(self.url, key, retry_policy=RETRY_POLICY) as phoenix:
            yield phoenix

    def is_on_this_machine(self, request: _Request) -> bool:
        """Whether the caller is the user that started this process, and may read what the process may read."""
        return _headers_of(request) is None

    def absolute(self, url: str) -> str:
        """A path of the server as a URL. Other URLs stay as they are."""
        return self.url.rstrip("/") + url if url.startswith("/") else url

    async def read_media(self, signed_url: str) -> bytes:
        """The bytes behind a signed URL. Raises `PhoenixUnreachable`."""
        try:
            async with self._streaming(signed_url) as response:
                return await response.aread()
        except httpx.HTTPError as error:
            raise PhoenixUnreachable(f"the file could not be loaded: {error}") from error

    async def save_media(self, signed_url: str, path: Path) -> None:
        """Writes the bytes behind a signed URL to a file. Raises `PhoenixUnreachable` and `OSError`."""
        try:
            async with self._streaming(signed_url) as response:
                with path.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
        except httpx.HTTPError as error:
            raise PhoenixUnreachable(f"the file could not be loaded: {error}") from error

    @asynccontextmanager
    async def _streaming(self, signed_url: str) -> AsyncGenerator[httpx.Response]:
        async with (
            httpx.AsyncClient(timeout=MEDIA_TIMEOUT_S, follow_redirects=True) as http,
            http.stream("GET", self.absolute(signed_url)) as response,
        ):
            yield response.raise_for_status()


def _headers_of(request: _Request) -> Mapping[str, str] | None:
    """The headers of a caller over HTTP; None over stdio."""
    return getattr(request.request, "headers", None)


def _bearer(header: str | None) -> str | None:
    scheme, _, key = (header or "").strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def explain(error: PhoenixClientError) -> str:
    """What an agent needs to correct a call: the code, each error with its place, and whether trying again can help."""
    if not isinstance(error, PhoenixProblem):
        return f"{error} Trying again can help." if error.retriable else str(error)
    lines = [f"{error.code} ({error.status}): {error.detail}"]
    lines += [f"{fault.pointer}: {fault.detail}" for fault in error.field_errors]
    if error.request_id:
        lines.append(f"Request id: {error.request_id}.")
    wait = f" after {error.retry_after_s:.0f} s" if error.retry_after_s else ""
    lines.append(f"Trying again{wait} can help." if error.retriable else "The same call would be refused again.")
    return "\n".join(lines)
