"""Where commands write: results to stdout, everything else to stderr. User text is shown without control codes."""

import json
from collections.abc import Sequence

from pydantic import BaseModel
from rich.console import Console

# No markup: a prompt may contain something that looks like it.
out = Console(markup=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """Prints one JSON document, in the shape of the API."""
    plain = (
        value.model_dump(mode="json") if isinstance(value, BaseModel) else [v.model_dump(mode="json") for v in value]
    )
    print(json.dumps(plain, indent=2, ensure_ascii=False))


def printable(text: str, max_length: int | None = None) -> str:
    """`text` on one line, without control characters that a terminal would act on."""
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    if max_length is not None and len(line) > max_length:
        return line[: max_length - 1] + "…"
    return line


def format_seconds(seconds: float | None) -> str:
    """`8.2 s`, `3:05`, `1:02:03`, or a dash."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def format_gigabytes(size_bytes: int) -> str:
    """`14.7 GB`, with decimal gigabytes as device makers use them."""
    return f"{size_bytes / 1e9:.1f} GB"
