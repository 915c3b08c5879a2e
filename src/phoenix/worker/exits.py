"""What a worker process and its supervisor agree on: exit statuses, and the time to stop in."""

from enum import IntEnum

STOP_GRACE_S = 10.0
"""Time for work that was asked to stop: a denoising step, or the end of ffmpeg."""


class Exit(IntEnum):
    DONE = 0
    STALLED = 70
    """Its work hung. A thread cannot be killed, so the process ended itself."""
    ORPHANED = 71
    """Its supervisor has ended."""
    UNFIT = 74
    """Its device or torch is in a bad state. A new process may do better; if not, the one after that is delayed."""
    RECYCLE = 75
    """It has done its share of tasks or grown too large: replace it at once."""
    UNUSABLE = 78
    """What it was told to work with is not here: a device, ffmpeg, a catalog. Another start would end the same way."""
