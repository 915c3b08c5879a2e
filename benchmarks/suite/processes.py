"""What a process has used, and what the rest of the machine uses meanwhile. Linux only."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_SAMPLED_S = 1.0


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Time on a core of all threads so far. Finer than the ticks of 10 ms in which `cpu_times` counts."""
    tasks = (task for process in processes for task in Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    return sum(_on_core_s(task) for task in tasks)


def _on_core_s(schedstat: Path) -> float:
    # A thread may end between the two.
    with suppress(OSError):
        return int(schedstat.read_text().split()[0]) / 1e9
    return 0.0


def tree_of(pid: int) -> list[psutil.Process]:
    """The process and its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_with_ended_children_s(pid: int) -> float:
    """Time on a core of the process, and of the children that it has waited for. In ticks of 10 ms."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def pss_bytes(process: psutil.Process) -> int:
    """Memory, of which pages that several processes share count in part."""
    return process.memory_full_info().pss


def measure_others_cores() -> float:
    """How much of the machine is used while this process waits, in cores. Nothing of the suite may run."""
    before = _busy_s()
    time.sleep(_SAMPLED_S)
    return max(0.0, _busy_s() - before) / _SAMPLED_S


def _busy_s() -> float:
    """Time of all cores that was not idle, the time that a hypervisor took away included."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = dict(zip(names, map(int, fields), strict=True))
    return sum(count for name, count in ticks.items() if name not in ("idle", "iowait")) / os.sysconf("SC_CLK_TCK")
