"""Reads the messages of an event stream: `text/event-stream`, as the HTML standard defines it."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import httpx

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class NotAStream(Exception):
    """The response is no event stream: a proxy has sent a page in its place."""


@dataclass(frozen=True)
class Message:
    """One message. `id`: the last id that the stream has named, or empty. `retry_ms`: None if not named here."""

    data: str
    id: str
    retry_ms: int | None = None


async def read_messages(response: httpx.Response) -> AsyncGenerator[Message]:
    """Yields the messages as they arrive, those without data too. Raises `NotAStream`."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise NotAStream(f"the response has the media type {kind or 'of nothing'}")
    data: list[str] = []
    last_id, retry_ms, has_fields = "", None, False
    async for line in _read_lines(response):
        if not line:
            if has_fields:
                yield Message("\n".join(data), last_id, retry_ms)
            data, retry_ms, has_fields = [], None, False
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if value.isascii() and value.isdecimal():
                retry_ms = int(value)
            case _:
                continue  # a comment, or a field that no version of the server sends
        has_fields = True


async def _read_lines(response: httpx.Response) -> AsyncIterator[str]:
    """The lines. `httpx` would also end a line at characters that JSON may have in its strings."""
    rest, is_first = b"", True
    async for chunk in response.aiter_bytes():
        rest += chunk
        # A carriage return at the very end may be the first half of a line end.
        whole = rest[:-1] if rest.endswith(b"\r") else rest
        *lines, begun = _LINE_END.split(whole)
        rest = begun + rest[len(whole) :]
        for line in lines:
            text = line.removeprefix(_BOM) if is_first else line
            is_first = False
            yield text.decode(errors="replace")
