"""What is charged to a server: CPU, memory, lateness."""

from collections.abc import Sequence

import psutil


def cpu_s(process: psutil.Process) -> float:
    """User and system time so far."""
    times = process.cpu_times()
    return times.user + times.system


def pss_bytes(process: psutil.Process) -> int:
    return process.memory_full_info().pss


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    return {
        name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2)
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))
    }
