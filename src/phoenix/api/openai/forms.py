"""Reads the body of a video request: the form that OpenAI's SDKs send, with or without a file, or JSON."""

import json
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from phoenix.api.openai.pictures import FILE_FIELD, cut_pictures
from phoenix.errors import FieldError, InvalidRequest, MalformedRequest, PayloadTooLarge, UnsupportedMedia

VIDEO_FIELD = "video"
_MAX_FIELDS = 64
_NAME = re.compile(r"([A-Za-z_]{1,64})(?:\[([A-Za-z_]{0,64})\])?")


@dataclass(frozen=True)
class VideoForm:
    """The fields before validation, and what was sent with them: the file of the form, or base64 cut out of JSON."""

    fields: dict[str, Any]
    file: UploadFile | None = None
    cut_pictures: Sequence[bytes] = ()


@asynccontextmanager
async def open_form(
    request: Request, *, max_json_bytes: int, max_picture_bytes: int = 0, file_field: str = FILE_FIELD
) -> AsyncGenerator[VideoForm]:
    """Parses the body; its file, which only `file_field` may be, can be read until the block ends.

    A JSON body may have `max_picture_bytes` more, as base64. Raises `UnsupportedMedia`, `MalformedRequest`,
    `PayloadTooLarge` or `InvalidRequest`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await _read(request, max(max_json_bytes, max_picture_bytes))
        cut = cut_pictures(body)
        if len(cut.json) > max_json_bytes:
            raise _too_large(max_json_bytes)
        yield VideoForm(_parse_json(cut.json), cut_pictures=cut.pictures)
    elif kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=_MAX_FIELDS, max_part_size=max_json_bytes) as form:
            yield collect_fields(form.multi_items(), file_field=file_field)
    else:
        raise UnsupportedMedia("Send multipart/form-data or JSON.")


def collect_fields(items: Iterable[tuple[str, UploadFile | str]], *, file_field: str = FILE_FIELD) -> VideoForm:
    """`a[b]` is field `b` of `a`. Such names cannot express a list of objects, so such a list is sent as JSON text."""
    fields: dict[str, Any] = {}
    file: UploadFile | None = None
    for name, value in items:
        if isinstance(value, UploadFile):
            if name != file_field:
                raise _field_error(name, f"Only `{file_field}` is a file.")
            file = value
        else:
            _set_field(fields, name, value)
    return VideoForm(fields, file)


_Checked = TypeVar("_Checked", bound=BaseModel)


def validate_fields(fields: dict[str, Any], kind: type[_Checked]) -> _Checked:
    """Validates the fields. Raises `RequestValidationError`."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(found, body=fields) from error


def read_json_text(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields with the objects of `name` in place of their JSON text, so that each error has its place in them."""
    try:
        return {**fields, name: json.loads(fields[name])}
    except (KeyError, TypeError, ValueError, RecursionError):
        return fields


async def _read(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {max_bytes} bytes, which is the limit here.")


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        fields: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest(
            "The body must be a JSON object.", field_errors=[FieldError("", "This must be a JSON object.")]
        )
    return fields  # pyright: ignore[reportUnknownVariableType]


def _set_field(fields: dict[str, Any], name: str, value: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None or match[2] == "" or name in fields:
        raise _field_error(name, "Send each field once; a list of objects, such as `clips`, as JSON text.")
    outer, inner = match.groups()
    if inner is None:
        fields[outer] = value
        return
    group: Any = fields.setdefault(outer, {})
    if not isinstance(group, dict) or inner in group:
        raise _field_error(name, "Send each field once.")
    group[inner] = value


def _field_error(name: str, detail: str) -> InvalidRequest:
    shown = name[:200].encode(errors="replace").decode()
    return InvalidRequest(f"{shown}: {detail}", field_errors=[FieldError(f"/{shown}", detail)])
