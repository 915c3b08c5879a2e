"""The memory peaks of calls, without the weights, by model, shape and batch size. Measured once, stored on disk."""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ResolvedClip
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_VAE_OPTIONS = ("vae_dtype", "vae_tiling", "vae_slicing")


@dataclass(frozen=True)
class CallShape:
    """Everything that the memory of a call depends on.

    `device` is the product name, equal for all devices of a kind.
    """

    model_id: str
    build: str
    offload: str
    width: int
    height: int
    num_frames: int
    batch_size: int
    is_guided: bool
    device: str

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}x{self.num_frames}"
        guided = " guided" if self.is_guided else ""
        return (
            f"{self.model_id} {self.build} offload={self.offload} {size} batch={self.batch_size}{guided}"
            f" on {self.device}"
        )


def call_shape(clip: ResolvedClip, model: ModelSpec, batch_size: int, *, device: str) -> CallShape:
    """Returns the shape of a call of `batch_size` clips like this. Most model families compute a guided clip as two."""
    return CallShape(
        model_id=model.id,
        build=_build_of(model),
        offload=model.offload,
        width=clip.width,
        height=clip.height,
        num_frames=clip.num_frames,
        batch_size=batch_size,
        is_guided=clip.guidance_scale > 1,
        device=device,
    )


def _build_of(model: ModelSpec) -> str:
    """Returns the settings of the catalog entry that change the memory of its calls, as text."""
    options = [f"{name}={model.options[name]}" for name in _VAE_OPTIONS if name in model.options]
    cache = [] if model.step_cache is None else [f"cache={model.step_cache.kind}"]
    return "+".join([model.dtype, *options, *cache, *(["compiled"] if model.compile_blocks else [])])


class PeakStore(Protocol):
    """Stores the memory peaks of calls by shape. Thread-safe."""

    def find(self, shape: CallShape) -> int | None:
        """Returns the highest recorded peak in bytes; None if no call of this shape was measured."""
        ...

    def record(self, shape: CallShape, peak_bytes: int) -> None:
        """Records a measured peak. The highest peak of a shape counts."""
        ...


class InMemoryPeakStore:
    """Stores peaks in memory, until the process ends."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._lock = threading.Lock()

    def find(self, shape: CallShape) -> int | None:
        return self._bytes.get(str(shape))

    def record(self, shape: CallShape, peak_bytes: int) -> None:
        with self._lock:
            self._bytes[str(shape)] = max(peak_bytes, self._bytes.get(str(shape), 0))


class FilePeakStore(InMemoryPeakStore):
    """Stores peaks in a small JSON file.

    If two processes write at a time, an entry may be lost, and is measured again.
    """

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
        _logger.warning("memory peaks cannot be read; they are measured again", error=str(error))
        return {}
    entries = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    return {name: value for name, value in entries.items() if isinstance(value, int)}


def _write(path: Path, peaks: dict[str, int]) -> None:
    """Writes a temporary file first, so that the old file stays intact if the process dies."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(peaks, indent=1, sort_keys=True), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        _logger.warning("memory peaks cannot be written", error=str(error))
