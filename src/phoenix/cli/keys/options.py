"""The options of `phoenix keys`, and the times and sizes in them as people write them."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from phoenix.clock import utc_now

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `phoenix keys list` prints it.")]


ExpiresIn = Annotated[
    str | None, typer.Option(metavar="PERIOD", help="The key ends after this time, such as 30d, 12h or 90m.")
]
ExpiresAt = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The key ends at this time, such as 2026-12-31 or 2026-12-31T18:00+01:00."),
]
MaxStored = Annotated[
    str | None,
    typer.Option(
        "--max-stored-bytes",
        metavar="SIZE",
        help="What the key may store, such as 50GB; 0 for no limit. The limit of the settings if unset.",
    ),
]


class KeyScope(StrEnum):
    """The scopes of `access.keys.Scope`, without its imports."""

    READ = "read"
    WRITE = "write"
    METRICS = "metrics"
    OPERATOR = "operator"
    ADMIN = "admin"


_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_UNITS_BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_LONGEST = timedelta(days=36_500)


def parse_period(text: str) -> timedelta:
    """`30d`, `12h`, `90m`, `2w`. Raises `typer.BadParameter`."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip().lower(), re.ASCII)
    period = timedelta(seconds=int(match[1]) * _UNITS_S[match[2]]) if match else _LONGEST
    if period >= _LONGEST:
        raise typer.BadParameter(f"{text!r} is no period of less than 100 years; give one such as 30d, 12h, 90m or 2w.")
    return period


def parse_instant(text: str) -> datetime:
    """`2026-12-31`, or `2026-12-31T18:00+01:00`; in the local time zone without an offset. Raises `BadParameter`."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise typer.BadParameter(
            f"{text!r} is no time; give one such as 2026-12-31 or 2026-12-31T18:00+01:00."
        ) from error


def parse_size(text: str) -> int:
    """Bytes of `500000`, `750MB`, `50GB`, in decimal units. Raises `typer.BadParameter`."""
    match = re.fullmatch(r"([0-9]{1,15}) ?([kmgt]b)?", text.strip().lower(), re.ASCII)
    size_bytes = int(match[1]) * _UNITS_BYTES[match[2] or ""] if match else None
    if size_bytes is None or size_bytes >= 2**63:
        raise typer.BadParameter(f"{text!r} is no size; give bytes, or a size such as 750MB, 50GB or 2TB.")
    return size_bytes


def read_end(expires_in: str | None, expires_at: str | None) -> datetime | None:
    """When a key ends; None if neither option is given."""
    if expires_in and expires_at:
        raise typer.BadParameter("give --expires-in or --expires-at, not both.")
    if expires_in:
        return utc_now() + parse_period(expires_in)
    return parse_instant(expires_at) if expires_at else None
