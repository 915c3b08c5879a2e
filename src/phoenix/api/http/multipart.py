"""Reads one file out of a multipart body, straight to disk and within bounds. Knows nothing about media.

Starlette's own parser has no size limit: it would first spool the whole body to a temporary folder.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from phoenix.errors import FieldError, InvalidRequest, MalformedRequest, PayloadTooLarge, UnsupportedMedia

FIELD = "file"
MAX_FILENAME_LENGTH = 200
_WRITE_BYTES = 262_144
_MAX_FIELD_ERRORS = 64
"""Each unexpected part is a field error, and a body as large as an upload can contain millions of parts."""


@dataclass(frozen=True)
class ReceivedFile:
    """A file from a form, and where it was written to."""

    path: Path
    filename: str | None
    """The client's name for the file, cleaned for display. Never use it as a path."""


async def receive_file(request: Request, path: Path, *, max_bytes: int) -> ReceivedFile:
    """Writes the field `file` to `path`. Raises `UnsupportedMedia`, `PayloadTooLarge`, `InvalidRequest`."""
    form = _Form(max_bytes)
    parser = _open_parser(request, form)
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in request.stream():
            try:
                parser.write(chunk)
            except FormParserError as error:
                raise MalformedRequest(f"The body is not multipart/form-data: {error}.") from error
            if len(form.unwritten) >= _WRITE_BYTES:
                await asyncio.to_thread(file.write, form.pop_unwritten())
        await asyncio.to_thread(file.write, form.pop_unwritten())
    if not form.is_ended:
        raise MalformedRequest("The body is not multipart/form-data: its last boundary is missing.")
    form.raise_errors()
    return ReceivedFile(path, clean_filename(form.filename))


def clean_filename(given: str | None) -> str | None:
    """The last part of a path with either kind of slash, without characters that a terminal or page would act on."""
    name = (given or "").replace("\\", "/").rsplit("/", 1)[-1]
    # A right-to-left override, which disguises the end of a name, is not printable either.
    shown = "".join(char for char in name if char.isprintable()).strip()
    return shown[:MAX_FILENAME_LENGTH] or None


def _open_parser(request: Request, form: "_Form") -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise UnsupportedMedia("Send multipart/form-data with the field `file`.")
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
    except FormParserError as error:
        raise MalformedRequest(f"The body is not multipart/form-data: {error}.") from error


@dataclass
class _Form:
    """The state of the parser, whose callbacks are the methods `on_…`."""

    max_bytes: int
    filename: str | None = None
    unwritten: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    _files: int = 0
    _size_bytes: int = 0
    _is_file: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _field_errors: dict[FieldError, None] = field(default_factory=dict[FieldError, None])

    def on_part_begin(self) -> None:
        self._is_file, self._disposition = False, b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = _decoded(options.get(b"name", b""))
        if name != FIELD:
            self._add_error(f"/{name[:MAX_FILENAME_LENGTH]}", "There is no such field here.")
        elif self._files:
            self._add_error(f"/{FIELD}", "Send one file per request.")
        else:
            self._files, self._is_file = 1, True
            self.filename = _decoded(options.get(b"filename", b""))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            return
        self._size_bytes += end - start
        if self._size_bytes > self.max_bytes:
            raise PayloadTooLarge(
                f"The file is larger than {self.max_bytes} bytes, which is the limit here.",
                field_errors=[FieldError(f"/{FIELD}", f"Send at most {self.max_bytes} bytes.")],
            )
        self.unwritten += data[start:end]

    def on_end(self) -> None:
        self.is_ended = True

    def pop_unwritten(self) -> bytes:
        taken = bytes(self.unwritten)
        self.unwritten.clear()
        return taken

    def raise_errors(self) -> None:
        if self.is_ended and not self._files:
            self._field_errors[FieldError(f"/{FIELD}", "This is required.")] = None
        if self._field_errors:
            first = next(iter(self._field_errors))
            raise InvalidRequest(f"{first.pointer}: {first.detail}", field_errors=list(self._field_errors))

    def _add_error(self, pointer: str, detail: str) -> None:
        self._field_errors[FieldError(pointer, detail)] = None
        if len(self._field_errors) >= _MAX_FIELD_ERRORS:
            self.raise_errors()


def _decoded(text: bytes) -> str:
    return text.decode(errors="replace")
