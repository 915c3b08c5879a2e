"""The headers of a submission: `Idempotency-Key`, and `Prefer: wait=N`."""

import re
from typing import Annotated

from fastapi import Header
from pydantic import AfterValidator, Field

from phoenix.contract import Omittable

MAX_KEY_LENGTH = 255
MAX_WAIT_S = 60
"""Proxies give up on responses that take longer."""

_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x7e][\x20-\x7e]*")
_SHOWN_PATTERN = r'^([!#-~]([ -~]{0,253}[!-~])?|"[ !#-\[\]-~]{1,255}")$'
_WAIT = re.compile(r'wait\s*=\s*(?:"(\d{1,9})"|(\d{1,9}))', re.ASCII | re.IGNORECASE)


def parse_idempotency_key(text: str) -> str:
    """The key in `"abc"`, a string of RFC 9651, or in plain `abc`. Raises `ValueError` for anything else."""
    given = text.strip(" \t")
    quoted = _QUOTED.fullmatch(given)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given if _BARE.fullmatch(given) else ""
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise ValueError(f"send 1 to {MAX_KEY_LENGTH} printable ASCII characters, in double quotes or without")
    return key


def parse_wait_s(prefer: str | None) -> int | None:
    """Seconds to wait, at most `MAX_WAIT_S`; None if the client does not ask for it. Ignores other preferences."""
    for preference in (prefer or "").split(","):
        # A semicolon starts parameters of a preference; `wait` has none.
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(match[1] or match[2]), MAX_WAIT_S)
    return None


IdempotencyKey = Annotated[
    Omittable[
        Annotated[str, AfterValidator(parse_idempotency_key), Field(json_schema_extra={"pattern": _SHOWN_PATTERN})]
    ],
    Header(
        alias="Idempotency-Key",
        description="Any text of yours, up to 255 characters. The same request with the same key within 24 hours "
        "makes no second job: the response is the first one's job, with `Idempotent-Replayed: true`.",
    ),
]
Prefer = Annotated[
    Omittable[str],
    Header(
        description="`wait=10` delays the response until the job has ended, but at most 10 seconds (60 is the limit)."
    ),
]
