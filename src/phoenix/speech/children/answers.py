"""What a child reads and prints, and the words of a text with their places in it."""

import json
import re
import sys
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Times = dict[str, Any]


def read_request() -> dict[str, str]:
    """The `text` to speak, the `voice`, and the `output` to write."""
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def print_words(words: Sequence[Times]) -> None:
    sys.stdout.write(json.dumps({"words": list(words)}))
    sys.stdout.flush()


def print_fault(fault: str) -> None:
    """Says what is missing here. Another attempt on this machine would find the same."""
    sys.stdout.write(json.dumps({"fault": fault}))
    sys.stdout.flush()


def write_wav(path: str, samples: bytes, *, rate_hz: int) -> None:
    """Writes samples of 16 bits in one channel."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples)


def words_of(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and letters of each word that a reader sees: what is between white space."""
    for found in re.finditer(r"\S+", text):
        yield found.start(), found.end(), found[0]


def spread(words: Sequence[str], start_s: float, end_s: float) -> list[Times]:
    """Words whose times are not known: each takes a share of the time by its length."""
    total = sum(len(word) + 1 for word in words)
    times: list[Times] = []
    done = 0
    for word in words:
        began = done
        done += len(word) + 1
        length_s = end_s - start_s
        times.append(timed(word, start_s + length_s * began / total, start_s + length_s * done / total))
    return times


def timed(text: str, start_s: float, end_s: float) -> Times:
    return {"text": text, "start_s": round(start_s, 3), "end_s": round(end_s, 3)}
