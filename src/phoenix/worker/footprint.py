"""Measures this process's memory. What is too much is for `worker.drain` to say."""

import psutil


def resident_bytes() -> int:
    """Resident memory of this process, memory-mapped weights included; its ffmpeg children are not."""
    return psutil.Process().memory_info().rss
