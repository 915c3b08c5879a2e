"""Which devices get a worker when none is named. Found without torch: the supervisor stays light."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


def list_devices() -> list[str]:
    """Every GPU of a machine that has several; else `auto`, by which the worker itself finds one or none."""
    if find_spec("torch") is None:
        return ["auto"]
    count = count_visible(len(list(Path("/dev").glob("nvidia[0-9]*"))), os.environ)
    return [f"cuda:{number}" for number in range(count)] if count > 1 else ["auto"]


def count_visible(found: int, environment: Mapping[str, str]) -> int:
    """How many of the machine's GPUs CUDA shows to this process."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    # CUDA stops at the first entry that it cannot read, and -1 is the customary one.
    names = [name.strip() for name in visible.split(",")]
    valid = next((index for index, name in enumerate(names) if name in ("", "-1")), len(names))
    return min(valid, found)
