"""Reading one file out of a multipart body."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import Request
from starlette.types import Message

from phoenix.api.http.multipart import ReceivedFile, clean_filename, receive_file
from phoenix.errors import InvalidRequest, MalformedRequest, PayloadTooLarge, UnsupportedMedia

BOUNDARY = "b0"


def part(name: str, data: bytes = b"data", filename: str | None = "a.mp3") -> bytes:
    shown = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
    return head.encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


async def receive(
    body: bytes,
    folder: Path,
    *,
    max_bytes: int = 1000,
    content_type: str = f"multipart/form-data; boundary={BOUNDARY}",
    chunk_bytes: int = 7,
) -> ReceivedFile:
    async def chunks() -> AsyncIterator[Message]:
        for start in range(0, len(body), chunk_bytes):
            yield {"type": "http.request", "body": body[start : start + chunk_bytes], "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    messages = chunks()
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return await receive_file(Request(scope, messages.__anext__), folder / "file", max_bytes=max_bytes)


async def test_the_file_arrives_byte_for_byte_however_it_is_cut(tmp_path: Path) -> None:
    data = bytes(range(256)) + f"\r\n--{BOUNDARY[:1]}".encode()

    received = await receive(part("file", data) + END, tmp_path)

    assert received.path.read_bytes() == data
    assert received.filename == "a.mp3"


async def test_a_file_over_the_limit_is_refused_before_its_end(tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLarge) as refused:
        await receive(part("file", b"x" * 1001), tmp_path)

    assert refused.value.field_errors[0].pointer == "/file"


async def test_a_form_without_a_file_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await receive(part("other") + END, tmp_path)

    assert [error.pointer for error in refused.value.field_errors] == ["/other", "/file"]


async def test_a_second_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="one file"):
        await receive(part("file") + part("file") + END, tmp_path)


async def test_a_form_of_very_many_fields_is_not_read_to_its_end(tmp_path: Path) -> None:
    fields = b"".join(part(f"field{number}", filename=None) for number in range(100))

    with pytest.raises(InvalidRequest) as refused:
        await receive(fields + b"not a form any more", tmp_path)

    assert len(refused.value.field_errors) == 64


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data", "", "multipart/mixed; boundary=b0"]
)
async def test_another_content_type_is_refused(tmp_path: Path, content_type: str) -> None:
    with pytest.raises(UnsupportedMedia):
        await receive(part("file") + END, tmp_path, content_type=content_type)


@pytest.mark.parametrize("body", [b"", b"not multipart at all", part("file"), part("file") + END[:-5]])
async def test_a_malformed_or_truncated_body_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        await receive(body, tmp_path)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("song.mp3", "song.mp3"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\me\song.mp3", "song.mp3"),
        ("a\x00b\r\nc.mp3", "abc.mp3"),
        ("\u202egpj.exe", "gpj.exe"),
        ("Übung.mp3", "Übung.mp3"),
        ("x" * 1000, "x" * 200),
        ("", None),
        ("/", None),
        (None, None),
    ],
)
def test_a_filename_is_made_fit_for_display(given: str | None, shown: str | None) -> None:
    assert clean_filename(given) == shown
