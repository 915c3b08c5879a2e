"""The memory of the machine that models may use: weights that are offloaded, or that run on the CPU, are there."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST_SHARE = 0.8
"""Fraction of the machine for weights if the settings have no budget. Frames and other processes need the rest."""

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60
"""Version 1 of cgroups has a number of this size where there is no limit."""


@dataclass(frozen=True)
class HostMemory:
    """The memory of the machine for the models of one process: what they use or will use, and their budget."""

    used_bytes: int
    budget_bytes: int


def host_limit_bytes(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Returns the memory of the machine, or of the container that this process runs in."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine_bytes, *_read_limits(cgroups, own)])


def host_budget_bytes(setting_bytes: int | None, *, device_share: float, devices: int) -> int:
    """Returns the host memory for the weights of one process. By default, the devices of a machine share it equally."""
    if setting_bytes is not None:
        return int(setting_bytes * device_share)
    return int(host_limit_bytes() * HOST_SHARE * device_share / max(1, devices))


def pinned_bytes(size_bytes: int) -> int:
    """Returns what a pinned tensor of this size takes: the allocator of torch rounds up to a power of two."""
    return 1 << max(0, size_bytes - 1).bit_length()


def _read_limits(cgroups: Path, own: Path) -> Iterator[int]:
    """Yields the limits of the control group of this process, and of the groups above it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (cgroups / "memory", "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            # A container sees its own group as the root, under a path of the machine that does not exist here.
            if folder.is_relative_to(root):
                yield from _read_limit(folder / name)


def _read_limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdecimal() and int(text) < _UNLIMITED_BYTES:
        yield int(text)
