"""The result of one check of a machine."""

from dataclasses import dataclass
from enum import Enum


class CheckStatus(Enum):
    """What a check found."""

    OK = "ok"
    NOTE = "note"
    """Phoenix works, except for the part that the finding names."""
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """The result of one check, with a remedy if something is missing."""

    name: str
    status: CheckStatus
    detail: str
    remedy: str = ""
