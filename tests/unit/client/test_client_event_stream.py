"""Messages of event streams, however their bytes are cut into chunks."""

from collections.abc import AsyncIterator

import httpx
import pytest

from phoenix.client.event_stream import Message, NotAStream, read_messages

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
TEXT = "id: 7\ndata: a\u2028b\n\n: comment\n\nretry: 20\n\nevent: x\ndata:{\ndata: }\n\ndata: cut off"
READ = [Message("a\u2028b", "7"), Message("", "7", 20), Message("{\n}", "7")]


class Chunks(httpx.AsyncByteStream):
    def __init__(self, data: bytes, size: int) -> None:
        self._chunks = [data[start : start + size] for start in range(0, len(data), size)]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def read(data: bytes, size: int = 10_000, headers: dict[str, str] = STREAM) -> list[Message]:
    response = httpx.Response(200, headers=headers, stream=Chunks(data, size))
    return [message async for message in read_messages(response)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 10_000])
async def test_messages_end_at_any_kind_of_line_end(end: str, size: int) -> None:
    assert await read(TEXT.replace("\n", end).encode(), size) == READ


async def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert await read(b"\xef\xbb\xbfdata: a\n\n") == [Message("a", "")]


@pytest.mark.parametrize("line", ["retry: soon", "retry: \u0664", "id: a\0b", "colour: red", ""])
async def test_a_field_that_means_nothing_is_skipped(line: str) -> None:
    assert await read(f"{line}\n\ndata: a\n\n".encode()) == [Message("a", "")]


async def test_a_page_in_place_of_a_stream_is_refused() -> None:
    with pytest.raises(NotAStream, match="text/html"):
        await read(b"<html>", headers={"content-type": "text/html"})
