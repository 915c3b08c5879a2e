"""Turns pydantic's validation errors into field errors with RFC 6901 pointers. Pure; `problems` chooses the status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phoenix.contract import NO_NUL, PROMPT_PATTERN, SIZE_PATTERN, TEXT_PATTERN
from phoenix.errors import FieldError
from phoenix.ids import ARTIFACT_ID_PATTERN, JOB_ID_PATTERN

_WHOLE_NUMBER = "This must be a whole number."
_NUMBER = "This must be a number."
_TIME = "This must be a time, such as 2026-01-31T18:00:00Z."
_DETAILS = {
    "missing": "This is required.",
    "extra_forbidden": "There is no such field here.",
    "model_attributes_type": "This must be a JSON object.",
    "dict_type": "This must be a JSON object.",
    "list_type": "This must be a JSON array.",
    "string_type": "This must be a string.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "string_unicode": "This is not valid Unicode: it has half of a surrogate pair.",
}
_PATTERN_DETAILS = {
    PROMPT_PATTERN: "This must not be blank, and must not have the character NUL, which cannot be stored.",
    TEXT_PATTERN: NO_NUL,
    ARTIFACT_ID_PATTERN: "This is not the id of an artifact.",
    JOB_ID_PATTERN: "This is not the id of a job.",
    SIZE_PATTERN: "This must be a width and a height in pixels, such as 1280x720.",
}
_VALUE_ERROR_PREFIX = "Value error, "


@dataclass(frozen=True)
class ExplainedValidation:
    """All errors of a request. `is_malformed`: the body is broken JSON. `is_not_json`: the Content-Type is not JSON."""

    detail: str
    field_errors: Sequence[FieldError]
    is_malformed: bool = False
    is_not_json: bool = False


def explain_validation(errors: Sequence[Any], *, body: Any) -> ExplainedValidation:
    """`errors` as FastAPI reports them: their `loc` starts with `body`, `query`, `path` or `header`."""
    for error in errors:
        if error["type"] == "json_invalid":
            detail = f"The body is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}."
            return ExplainedValidation(detail, (FieldError("", detail),), is_malformed=True)
        # FastAPI passes the body on unparsed, as bytes, if its Content-Type is not JSON.
        if tuple(error["loc"]) == ("body",) and isinstance(body, bytes):
            return ExplainedValidation("", (), is_not_json=True)
    field_errors = tuple(dict.fromkeys(FieldError(pointer_of(error["loc"]), _detail_of(error)) for error in errors))
    first = f"{field_errors[0].pointer or 'The body'}: {field_errors[0].detail}"
    more = f" (and {len(field_errors) - 1} more)" if len(field_errors) > 1 else ""
    return ExplainedValidation(first + more, field_errors)


def pointer_of(loc: Sequence[str | int]) -> str:
    """A pointer into the body. The pointer of a parameter starts with its place, such as `/query/limit`."""
    parts = list(loc[1:] if loc and loc[0] == "body" else loc)
    # pydantic appends this part if the key is invalid, and not the value under it.
    if parts and parts[-1] == "[key]":
        parts.pop()
    return "".join(f"/{_escape(part)}" for part in parts)


def _escape(part: str | int) -> str:
    # The client may choose the key, so it is cut short and made encodable as UTF-8.
    text = str(part)[:200].encode(errors="replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _detail_of(error: Any) -> str:
    """The detail of one error, reworded if pydantic's message is about Python. It never contains the input."""
    if known := _DETAILS.get(error["type"]):
        return known
    if error["type"] == "string_pattern_mismatch" and (known := _PATTERN_DETAILS.get(error["ctx"]["pattern"])):
        return known
    if error["type"] == "too_short":
        return f"Give at least {error['ctx']['min_length']}."
    message: str = error["msg"].removeprefix(_VALUE_ERROR_PREFIX)
    message = message[:1].upper() + message[1:]
    return message if message.endswith(".") else message + "."
