"""The device of this process: chooses it, measures its memory, and releases memory. Imports torch only on demand."""

import gc
import os
import platform
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from phoenix.errors import PhoenixError
from phoenix.process_memory import return_freed_memory

ACCELERATOR_NODES = ("nvidia[0-9]*", "kfd", "dxg")
"""File names under /dev: NVIDIA, AMD, and both of them in WSL."""

ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""Torch reads only the first variable that is set. The order differs between releases of torch."""


class NoSuchDevice(PhoenixError):
    """The machine does not have the device that the settings name."""


@dataclass(frozen=True)
class DeviceMemory:
    """Memory of a whole device, used by all processes together."""

    used_bytes: int
    total_bytes: int

    @property
    def free_bytes(self) -> int:
        return self.total_bytes - self.used_bytes


def pick_device(name: str = "auto") -> str:
    """Returns `cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`. Raises `NoSuchDevice`."""
    if name == "cpu" or (name == "auto" and not may_have_accelerator()):
        return "cpu"
    kind, _, number = name.partition(":")
    count = _count_accelerators()
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if kind != "cuda" or not (number or "0").isdigit() or int(number or "0") >= count:
        raise NoSuchDevice(f"there is no device {name!r} here; there are: {', '.join(_names(count))}, auto")
    return f"cuda:{int(number or '0')}"


def pick_devices(names: str = "auto") -> tuple[str, ...]:
    """Returns the devices of one worker, which `names` joins with `+`: it renders on the first, with the others.

    Raises `NoSuchDevice`.
    """
    devices = tuple(pick_device(name.strip()) for name in names.split("+"))
    if len({device.partition(":")[0] for device in devices}) > 1:
        raise NoSuchDevice(f"{names!r} names devices of two kinds: a worker has GPUs alone, or the CPU")
    for device in set(devices) - {"cpu"}:
        if devices.count(device) > 1:
            raise NoSuchDevice(f"{names!r} names {device} twice")
    return devices


def may_have_accelerator() -> bool:
    """Returns whether the machine may have an accelerator.

    Cheap, while an import of torch takes a second and 200 MB.
    """
    if platform.system() != "Linux":
        return True
    return any(match for node in ACCELERATOR_NODES for match in Path("/dev").glob(node))


def on_device(device: str) -> AbstractContextManager[None]:
    """Makes `device` the current device of this thread during the block.

    Each thread begins with the first device, and offloading makes its streams on the current device. A worker of
    another device would copy weights without a stream, and use half a gigabyte of the first device.
    """
    if not device.startswith("cuda"):
        return nullcontext()
    import torch  # noqa: PLC0415

    return torch.cuda.device(device)


def device_name(device: str) -> str:
    """Returns the product name of the device; `cpu` for a CPU. Imports torch."""
    if not device.startswith("cuda"):
        return device
    import torch  # noqa: PLC0415

    return torch.cuda.get_device_name(device)


def device_capability(device: str) -> tuple[int, int] | None:
    """Returns the compute capability of an NVIDIA card; None for a CPU and for cards of other makers. Imports torch."""
    if not device.startswith("cuda"):
        return None
    import torch  # noqa: PLC0415

    return torch.cuda.get_device_capability(device) if torch.version.hip is None else None


def device_memory(device: str) -> DeviceMemory | None:
    """Returns the memory of the whole device. None for a CPU, for a broken device, and before torch is imported."""
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return None
    import torch  # noqa: PLC0415

    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError:
        # The device is broken. The next call on it reports that; a heartbeat that measures memory must not fail.
        return None
    return DeviceMemory(used_bytes=total_bytes - free_bytes, total_bytes=total_bytes)


def worker_memory(devices: Sequence[str]) -> DeviceMemory | None:
    """Returns the memory of all devices of a worker together. None as for `device_memory`."""
    memories = [device_memory(device) for device in devices]
    known = [memory for memory in memories if memory is not None]
    if not known or len(known) < len(memories):
        return None
    return DeviceMemory(sum(memory.used_bytes for memory in known), sum(memory.total_bytes for memory in known))


def smallest_memory_bytes(devices: Sequence[str]) -> int | None:
    """Returns the whole memory of the device that has least. None for a CPU. Uses no memory of the devices."""
    if not devices[0].startswith("cuda"):
        return None
    import torch  # noqa: PLC0415

    cuda = cast("Any", torch.cuda)
    return min(int(cuda.get_device_properties(device).total_memory) for device in devices)


def usable_memory(device: str) -> int | None:
    """Returns the bytes that this process could use on the device, if it dropped all that it has there.

    None for a CPU and for a broken device.
    """
    memory = device_memory(device)
    if memory is None:
        return None
    import torch  # noqa: PLC0415

    return memory.free_bytes + torch.cuda.memory_reserved(device)


def count_devices(device: str) -> int:
    """Returns how many devices of this kind the machine has; 1 for a CPU."""
    return max(1, _count_accelerators()) if device.startswith("cuda") else 1


def release_memory() -> None:
    """Collects the reference cycles of dropped pipelines, and returns cached blocks to the driver and to the kernel."""
    gc.collect()
    release_cached_blocks()
    _release_pinned_blocks()
    return_freed_memory()


def release_cached_blocks() -> None:
    """Returns unused blocks to the driver. Takes little time compared to a clip. Raises nothing, since it runs while an
    error is handled.
    """
    if "torch" not in sys.modules:
        return
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        # On a broken device this fails too, and would hide the original error.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


def is_broken(device: str) -> bool:
    """Returns whether all calls to the device fail in this process. Waits for the running kernels."""
    if not device.startswith("cuda"):
        return False
    import torch  # noqa: PLC0415

    try:
        torch.cuda.synchronize(device)
    except (RuntimeError, AssertionError):
        # A torch that was built without CUDA raises AssertionError.
        return True
    return False


class CudaMeter:
    """Measures the memory of a CUDA device through the allocator of this process."""

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
    """Returns a meter for the device; None for a CPU, because calls are not scheduled by the memory of the machine."""
    return CudaMeter(device) if device.startswith("cuda") else None


def choose_allocator(environment: MutableMapping[str, str]) -> None:
    """Sets the allocator of torch to expandable segments. Call it before torch allocates memory.

    Clips of many shapes come in a row, and would fragment fixed segments. A variable that is set already wins.
    """
    if not any(name in environment for name in ALLOCATOR_VARIABLES):
        environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def keep_compiled_code(environment: MutableMapping[str, str], folder: Path) -> None:
    """Lets torch store compiled code in `folder`, which outlives the container. A variable that is set already wins.

    Without such a folder, torch uses a temporary folder: a process that cannot write its data folder still compiles.
    """
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def _release_pinned_blocks() -> None:
    """Returns pinned memory of the machine: torch caches the pinned blocks of weights that are offloaded by layer."""
    if "torch" not in sys.modules:
        return
    import torch  # noqa: PLC0415

    # Older releases of torch do not have this function.
    release = getattr(torch.accelerator, "empty_host_cache", None)
    if release is not None and torch.cuda.is_initialized():
        with suppress(RuntimeError):
            release()


def _count_accelerators() -> int:
    if find_spec("torch") is None:
        return 0
    choose_allocator(os.environ)
    import torch  # noqa: PLC0415

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _names(count: int) -> list[str]:
    return ["cpu", *(f"cuda:{number}" for number in range(count))]
