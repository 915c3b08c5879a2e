"""The device of a benchmark: which one, its name, and how much memory was in use. Imports no torch."""

import platform
import resource
import subprocess
import sys
from pathlib import Path

from phoenix.catalog.model import ModelSpec
from phoenix.cli.bench_report import Machine, PeakMemory
from phoenix.engine.device import open_meter, pick_device

CPU_INFO = Path("/proc/cpuinfo")
# In a process of its own, as in `phoenix doctor`: this room must not import torch.
NAME_GPU = "import sys, torch; print(torch.cuda.get_device_name(sys.argv[1]))"
NAMED_WITHIN_S = 60
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def find_machine(model: ModelSpec, device: str) -> Machine:
    """The device that `model` would be rendered on. Raises `NoSuchDevice`."""
    # Animatics are drawn on the CPU, whatever else there is.
    found = "cpu" if model.engine == "animatic" else pick_device(device)
    return Machine(device=found, name=_cpu_name() if found == "cpu" else _gpu_name(found))


def peak_memory(machine: Machine) -> PeakMemory:
    """Peak memory in bytes: of the device by this process's allocator; on a CPU, of this process."""
    meter = open_meter(machine.device)
    if meter is not None:
        return PeakMemory(peak_bytes=meter.peak_bytes(), of="device")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return PeakMemory(peak_bytes=resident * RSS_UNIT_BYTES, of="process")


def _gpu_name(device: str) -> str:
    argv = [sys.executable, "-c", NAME_GPU, device]
    named = subprocess.run(argv, capture_output=True, text=True, timeout=NAMED_WITHIN_S, check=False)  # noqa: S603
    return named.stdout.strip() or "of unknown name"


def _cpu_name() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
