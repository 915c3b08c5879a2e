"""A sound to lay under the reels of a run."""

import wave
from pathlib import Path


def write_tone(path: Path) -> Path:
    """A second of something that is not silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\x10\0\xf0" * 4000)
    return path
