"""The environment of a child process: exactly its parent's settings, wherever those came from."""

import json
import os
from collections.abc import Mapping
from enum import Enum, IntEnum
from pathlib import Path

from pydantic import BaseModel, SecretStr

from phoenix.settings import UNPREFIXED_NAMES, Settings

_PREFIX = "PHOENIX_"


def child_environment(settings: Settings, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables from which the child's `load_settings` yields settings equal to these.

    What is a default here is left out, so that it counts as unset in the child too.
    """
    # Names of settings are read in any case.
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.upper().startswith(_PREFIX) and name not in UNPREFIXED_NAMES
    }
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    ours = {_PREFIX + name.upper(): _text(value) for name, value in values.items() if value is not None}
    return kept | ours


def _text(value: object) -> str:
    """Groups as JSON, which pydantic-settings reads for nested models; what is unset in them stays unset."""
    if isinstance(value, BaseModel):
        return json.dumps(value.model_dump(exclude_unset=True, exclude_none=True), default=_plain)
    return str(_plain(value))


def _plain(value: object) -> object:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value.absolute())
        case Enum():
            return value.value
        case _:
            return value


STOP_GRACE_S = 10.0
"""Time for work that was asked to stop: a denoising step, or the end of ffmpeg."""


class ExitStatus(IntEnum):
    DONE = 0
    STALLED = 70
    """Its work hung. A thread cannot be killed, so the process ended itself."""
    ORPHANED = 71
    """Its supervisor has ended."""
    UNFIT = 74
    """Its device or torch is in a bad state. A new process may do better; if not, the one after that is delayed."""
    RECYCLE = 75
    """It has done its share of tasks or grown too large: replace it at once."""
    UNUSABLE = 78
    """What its settings name is not here: a device, ffmpeg, a catalog. Another start would end the same way."""
