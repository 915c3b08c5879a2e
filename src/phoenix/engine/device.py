"""The device of this process: which one, how full, and how to give memory back. Imports torch only when it must."""

import gc
import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from phoenix.errors import PhoenixError

ACCELERATOR_NODES = ("nvidia[0-9]*", "kfd", "dxg")
"""Under /dev: NVIDIA, AMD, and either of them through WSL."""


class NoSuchDevice(PhoenixError):
    """This machine has no such device."""


@dataclass(frozen=True)
class DeviceMemory:
    used_bytes: int
    total_bytes: int

    @property
    def free_bytes(self) -> int:
        return self.total_bytes - self.used_bytes


def pick_device(name: str = "auto") -> str:
    """`cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`. Raises `NoSuchDevice`."""
    if name == "cpu" or (name == "auto" and not _may_have_accelerator()):
        return "cpu"
    kind, _, number = name.partition(":")
    count = _count_accelerators()
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if kind != "cuda" or not (number or "0").isdigit() or int(number or "0") >= count:
        raise NoSuchDevice(f"there is no device {name!r} here; there are: {', '.join(_names(count))}, auto")
    return f"cuda:{int(number or '0')}"


def device_memory(device: str) -> DeviceMemory | None:
    """Of the whole device, other processes included; None for a CPU, before torch is in use, or if it is broken."""
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return None
    import torch  # noqa: PLC0415

    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError:
        # A device in a bad state: whoever computes on it says so. A heartbeat that asks must not end with it.
        return None
    return DeviceMemory(used_bytes=total_bytes - free_bytes, total_bytes=total_bytes)


def release_memory() -> None:
    """Collects cycles, which is where a dropped pipeline lives on, and gives cached blocks back to the driver."""
    gc.collect()
    release_cached_blocks()


def release_cached_blocks() -> None:
    """Gives back what no tensor uses. Cheap beside a clip, and never fails: it runs while another error is reported."""
    if "torch" not in sys.modules:
        return
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        # After an error that breaks the device this fails as well, and would hide the one that tells so.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


def is_broken(device: str) -> bool:
    """Whether every call to the device fails from now on, in this process."""
    if not device.startswith("cuda"):
        return False
    import torch  # noqa: PLC0415

    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


class CudaMeter:
    """Of one CUDA device, as the allocator of this process sees it."""

    def __init__(self, device: str) -> None:
        self._device = device

    def available_bytes(self) -> int:
        import torch  # noqa: PLC0415

        free_bytes, _ = torch.cuda.mem_get_info(self._device)
        cached_bytes = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return free_bytes + cached_bytes

    def allocated_bytes(self) -> int:
        import torch  # noqa: PLC0415

        return torch.cuda.memory_allocated(self._device)

    def begin(self) -> None:
        import torch  # noqa: PLC0415

        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        import torch  # noqa: PLC0415

        return torch.cuda.max_memory_allocated(self._device)

    def release(self) -> None:
        release_cached_blocks()


def open_meter(device: str) -> CudaMeter | None:
    """None for a CPU, whose memory is not the process's own to plan with."""
    return CudaMeter(device) if device.startswith("cuda") else None


def _may_have_accelerator() -> bool:
    """Cheap, so that a worker that only draws animatics does not pay a second and 200 MB to find out."""
    if platform.system() != "Linux":
        return True
    return any(match for node in ACCELERATOR_NODES for match in Path("/dev").glob(node))


def _count_accelerators() -> int:
    if find_spec("torch") is None:
        return 0
    # Read when torch is: clips of many shapes follow one another, and fixed segments would be left in fragments.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    import torch  # noqa: PLC0415

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _names(count: int) -> list[str]:
    return ["cpu", *(f"cuda:{number}" for number in range(count))]
