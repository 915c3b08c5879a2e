"""The memory of the machine that models may use: weights that are offloaded, or that run on the CPU, are there."""

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HOST_SHARE = 0.8
"""Fraction of the machine for weights if the settings have no budget. Frames and other processes need the rest."""

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60
"""Version 1 of cgroups has a number of this size where there is no limit."""

KEPT_BYTES = 512 << 20
"""How much freed memory the allocator of the C library keeps at the end of its heap."""

_LARGEST_IN_HEAP_BYTES = 256 << 20
_ACCEPTED_BY_ALL_BYTES = 32 << 20
"""Older releases of glibc accept no larger blocks in the heap."""

_ARENA_MAX, _MMAP_THRESHOLD, _TOP_PAD, _TRIM_THRESHOLD = -8, -3, -2, -1
"""Options of `mallopt` in glibc."""

_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


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


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Lets the C library keep freed memory for the next tensors of a CPU. Returns whether it does.

    By default glibc returns the tensors of each operation to the kernel, most of all in other threads than the first,
    and the page faults of the next operation take a third of the CPU of a small clip. Call it before threads start:
    their heaps would stay. A variable that is set already wins. `return_freed_memory` is the counterpart.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in environment for name in _VARIABLES):
        return False
    set_option = ctypes.CDLL(None).mallopt
    if not set_option(_MMAP_THRESHOLD, _LARGEST_IN_HEAP_BYTES):
        set_option(_MMAP_THRESHOLD, _ACCEPTED_BY_ALL_BYTES)
    # The heap grows by much at a time: a block that does not fit at its end would come from the kernel.
    others = {_ARENA_MAX: 1, _TRIM_THRESHOLD: KEPT_BYTES, _TOP_PAD: _LARGEST_IN_HEAP_BYTES}
    return all(set_option(option, value) == 1 for option, value in others.items())


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
