"""How much of the machine's memory this process holds. What is too much is for `worker.drain` to say."""

import psutil


def resident_bytes() -> int:
    """Of this process alone: an ffmpeg that it runs ends with its clip. Weights that are mapped from files count."""
    return psutil.Process().memory_info().rss
