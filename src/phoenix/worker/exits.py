"""What a worker process and its supervisor agree on: exit statuses, and how long an end may take."""

from enum import IntEnum

STOP_GRACE_S = 10.0
"""For work that was asked to stop: a denoising step, or the end of an ffmpeg."""


class Exit(IntEnum):
    DONE = 0
    STALLED = 70
    """Its work hung. A thread cannot be killed, so the process ended itself."""
    ORPHANED = 71
    """Its supervisor is gone."""
    UNFIT = 74
    """Its device or its torch is in a bad state. A clean process may do better; if it does not, the next one waits."""
    RECYCLE = 75
    """It has done its share, or has grown too large: it is to be replaced at once."""
    UNUSABLE = 78
    """What it was told to work with is not here: a device, ffmpeg, a catalog. Another start would end the same way."""
