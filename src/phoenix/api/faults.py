"""What pydantic found wrong with a request, in words and RFC 6901 pointers. Pure; knows no status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phoenix.errors import Fault
from phoenix.ids import ARTIFACT_ID_PATTERN

_DETAILS = {
    "missing": "This is required.",
    "extra_forbidden": "There is no such field here.",
    "model_attributes_type": "This must be a JSON object.",
    "dict_type": "This must be a JSON object.",
    "list_type": "This must be a JSON array.",
    "string_unicode": "This is not valid Unicode: it has half of a surrogate pair.",
}
_PATTERN_DETAILS = {
    r"\S": "This must not be blank.",
    ARTIFACT_ID_PATTERN: "This is not the id of an artifact.",
}
_VALUE_ERROR_PREFIX = "Value error, "


@dataclass(frozen=True)
class ValidationExplained:
    """All faults of a request; `is_malformed` if the body is not JSON, `is_not_json` if it does not claim to be."""

    detail: str
    faults: Sequence[Fault]
    is_malformed: bool = False
    is_not_json: bool = False


def explain_validation(errors: Sequence[Any], *, body: Any) -> ValidationExplained:
    """`errors` as FastAPI reports them: their `loc` starts with `body`, `query`, `path` or `header`."""
    for error in errors:
        if error["type"] == "json_invalid":
            detail = f"The body is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}."
            return ValidationExplained(detail, (Fault("", detail),), is_malformed=True)
        # FastAPI hands the body on unread, as bytes, if its Content-Type is not one of JSON.
        if tuple(error["loc"]) == ("body",) and isinstance(body, bytes):
            return ValidationExplained("", (), is_not_json=True)
    faults = tuple(dict.fromkeys(Fault(pointer_of(error["loc"]), _detail_of(error)) for error in errors))
    first = f"{faults[0].pointer or 'The body'}: {faults[0].detail}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return ValidationExplained(first + more, faults)


def pointer_of(loc: Sequence[str | int]) -> str:
    """A pointer into the body; for what is not in it, one that starts with where it is: `/query/limit`."""
    parts = list(loc[1:] if loc and loc[0] == "body" else loc)
    # pydantic marks a fault of a key, rather than of the value under it, with one more part.
    if parts and parts[-1] == "[key]":
        parts.pop()
    return "".join(f"/{_escape(part)}" for part in parts)


def _escape(part: str | int) -> str:
    # A key that the client made up: not longer than needed to find it, and writable as UTF-8.
    text = str(part)[:200].encode(errors="replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _detail_of(error: Any) -> str:
    """In our words where pydantic's are about Python; never with the input, which may be long or secret."""
    if known := _DETAILS.get(error["type"]):
        return known
    if error["type"] == "string_pattern_mismatch" and (known := _PATTERN_DETAILS.get(error["ctx"]["pattern"])):
        return known
    message: str = error["msg"].removeprefix(_VALUE_ERROR_PREFIX)
    message = message[:1].upper() + message[1:]
    return message if message.endswith(".") else message + "."
