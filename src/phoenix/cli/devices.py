"""Which devices get a worker by default. Found without torch, to keep the supervisor light."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


def list_devices() -> list[str]:
    """Every GPU if there are several; otherwise `auto`, with which the worker itself finds one or none."""
    if find_spec("torch") is None:
        return ["auto"]
    count = count_visible(len(list(Path("/dev").glob("nvidia[0-9]*"))), os.environ)
    return [f"cuda:{number}" for number in range(count)] if count > 1 else ["auto"]


def count_visible(found: int, environment: Mapping[str, str]) -> int:
    """How many of the machine's GPUs are visible to CUDA in this process."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    # CUDA stops at the first invalid entry, which is customarily -1.
    names = [name.strip() for name in visible.split(",")]
    valid = next((index for index, name in enumerate(names) if name in ("", "-1")), len(names))
    return min(valid, found)
