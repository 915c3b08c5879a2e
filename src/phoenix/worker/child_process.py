"""What a process and its child agree on: the settings in the environment, the exit statuses, the grace period."""

import json
import os
from collections.abc import Mapping
from enum import Enum, IntEnum
from pathlib import Path

from pydantic import BaseModel, SecretStr

from phoenix.settings import UNPREFIXED_NAMES, Settings

_PREFIX = "PHOENIX_"


def child_environment(settings: Settings, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which the child's `load_settings` returns settings equal to these.

    Settings that have their default value are left out, so that they count as unset in the child too.
    """
    # Settings are read from names in upper and in lower case.
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.upper().startswith(_PREFIX) and name not in UNPREFIXED_NAMES
    }
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    ours = {_PREFIX + name.upper(): _text(value) for name, value in values.items() if value is not None}
    return kept | ours


def _text(value: object) -> str:
    """A value as text. A group becomes JSON without its unset fields; pydantic-settings reads it as a nested model."""
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


PROCESS_NAME = "phoenix-worker"
"""What lists of processes show for a worker process that was forked."""

STOP_GRACE_S = 10.0
"""How long a worker waits for work that it has asked to stop: a denoising step takes seconds, and so does ffmpeg."""


class ExitStatus(IntEnum):
    """How a worker process ended. Its supervisor decides from the status when to start the next one."""

    DONE = 0
    STALLED = 70
    """A task hung. A thread cannot be killed, so the process ended itself."""
    ORPHANED = 71
    """The supervisor of the process has ended."""
    UNFIT = 74
    """The device or torch is in a bad state. A new process may work; if it fails early, the next start is delayed."""
    RECYCLE = 75
    """The process has run its share of tasks or has grown too large. It is replaced at once."""
    UNUSABLE = 78
    """A device, ffmpeg or a catalog that the settings name does not exist, or that ffmpeg cannot make a reel.

    Another start would fail the same way.
    """
