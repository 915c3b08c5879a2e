"""How much memory a call has taken beyond the weights, by model, shape and batch: learned once, and kept on disk."""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


@dataclass(frozen=True)
class CallShape:
    """What the memory of a call depends on."""

    model_id: str
    offload: str
    width: int
    height: int
    num_frames: int
    batch_size: int

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}x{self.num_frames}"
        return f"{self.model_id} offload={self.offload} {size} batch={self.batch_size}"


class Peaks(Protocol):
    def find(self, shape: CallShape) -> int | None:
        """Bytes, the most that any such call has taken; None if there was none yet."""
        ...

    def record(self, shape: CallShape, peak_bytes: int) -> None: ...


class MemoryPeaks:
    """Forgotten at the end of the process."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._lock = threading.Lock()

    def find(self, shape: CallShape) -> int | None:
        return self._bytes.get(str(shape))

    def record(self, shape: CallShape, peak_bytes: int) -> None:
        with self._lock:
            self._bytes[str(shape)] = max(peak_bytes, self._bytes.get(str(shape), 0))


class FilePeaks(MemoryPeaks):
    """In one small JSON file. Two processes that write at once may lose an entry, which is then learned again."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._bytes = _read(path)

    def record(self, shape: CallShape, peak_bytes: int) -> None:
        known = self.find(shape)
        super().record(shape, peak_bytes)
        if known is None or peak_bytes > known:
            with self._lock:
                self._bytes = _merged(_read(self._path), self._bytes)
                _write(self._path, self._bytes)


def _merged(theirs: dict[str, int], ours: dict[str, int]) -> dict[str, int]:
    return {name: max(theirs.get(name, 0), ours.get(name, 0)) for name in theirs | ours}


def _read(path: Path) -> dict[str, int]:
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _logger.warning("learned memory peaks cannot be read; they are learned anew", error=str(error))
        return {}
    entries = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    return {name: value for name, value in entries.items() if isinstance(value, int)}


def _write(path: Path, peaks: dict[str, int]) -> None:
    """A file beside it first: a process that dies half-way leaves the old one whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(peaks, indent=1, sort_keys=True), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        _logger.warning("learned memory peaks cannot be kept", error=str(error))
