"""The device of this process: which one, how full, and how to give memory back. Imports torch only when it must."""

import gc
import os
import platform
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from phoenix.errors import PhoenixError

ACCELERATOR_NODES = ("nvidia[0-9]*", "kfd", "dxg")
"""Under /dev: NVIDIA, AMD, and either of them through WSL."""

ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""Torch reads the first that is set, in an order that changed between its releases, and none of the others."""


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


def on_device(device: str) -> AbstractContextManager[None]:
    """Makes it the current device of this thread for the block, and ready for use.

    Each thread begins with the first one, and that is where offloading makes its streams: a worker of another device
    would copy weights in no stream of its own, and hold half a gigabyte of a card that is not its own.
    """
    if not device.startswith("cuda"):
        return nullcontext()
    import torch  # noqa: PLC0415

    return torch.cuda.device(device)


def device_name(device: str) -> str:
    """Of its kind, as its maker calls it; `cpu` for a CPU. Imports torch."""
    if not device.startswith("cuda"):
        return device
    import torch  # noqa: PLC0415

    return torch.cuda.get_device_name(device)


def device_memory(device: str) -> DeviceMemory | None:
    """Memory of the whole device, all processes included; None for a CPU, before torch is loaded, or if broken."""
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return None
    import torch  # noqa: PLC0415

    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError:
        # The device is in a bad state, which whoever computes on it will report. A heartbeat that asks must not fail.
        return None
    return DeviceMemory(used_bytes=total_bytes - free_bytes, total_bytes=total_bytes)


def release_memory() -> None:
    """Collects reference cycles, in which dropped pipelines survive, and returns cached blocks to the driver."""
    gc.collect()
    release_cached_blocks()
    _release_pinned_blocks()


def release_cached_blocks() -> None:
    """Returns unused blocks to the driver. Cheap compared to a clip. Never fails: it runs while an error is handled."""
    if "torch" not in sys.modules:
        return
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        # After an error that breaks the device this fails as well, and would hide the original error.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


def is_broken(device: str) -> bool:
    """Whether every call to the device fails from now on, in this process. Waits for what it is computing."""
    if not device.startswith("cuda"):
        return False
    import torch  # noqa: PLC0415

    try:
        torch.cuda.synchronize(device)
    except (RuntimeError, AssertionError):
        # The second is what a torch says that was built without CUDA, and so has no such device either.
        return True
    return False


class CudaMeter:
    """Measures a CUDA device's memory, as this process's allocator sees it."""

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

    def reset_peak(self) -> None:
        import torch  # noqa: PLC0415

        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        import torch  # noqa: PLC0415

        return torch.cuda.max_memory_allocated(self._device)

    def release(self) -> None:
        release_cached_blocks()


def open_meter(device: str) -> CudaMeter | None:
    """A meter for the device; None for a CPU, whose memory is not this process's to plan with."""
    return CudaMeter(device) if device.startswith("cuda") else None


def choose_allocator(environment: MutableMapping[str, str]) -> None:
    """Before torch allocates: clips of many shapes follow one another, and fixed segments would be left in fragments.

    Whoever has chosen under any of the names keeps the choice.
    """
    if not any(name in environment for name in ALLOCATOR_VARIABLES):
        environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def _release_pinned_blocks() -> None:
    """Of the machine's memory: weights that come in layer by layer are pinned, and torch keeps the blocks of them."""
    if "torch" not in sys.modules:
        return
    import torch  # noqa: PLC0415

    # Older releases of torch have no way to say so.
    release = getattr(torch.accelerator, "empty_host_cache", None)
    if release is not None and torch.cuda.is_initialized():
        with suppress(RuntimeError):
            release()


def _may_have_accelerator() -> bool:
    """A cheap check: importing torch would cost a worker that only draws animatics a second and 200 MB."""
    if platform.system() != "Linux":
        return True
    return any(match for node in ACCELERATOR_NODES for match in Path("/dev").glob(node))


def _count_accelerators() -> int:
    if find_spec("torch") is None:
        return 0
    choose_allocator(os.environ)
    import torch  # noqa: PLC0415

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _names(count: int) -> list[str]:
    return ["cpu", *(f"cuda:{number}" for number in range(count))]
