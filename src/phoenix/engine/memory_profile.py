"""The memory peaks of calls, without the weights, by model, shape and batch size. Measured once, stored on disk."""

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
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
        build="+".join([_build_of(model), *([f"loras={len(clip.loras)}"] if clip.loras else [])]),
        offload=model.offload,
        width=clip.width,
        height=clip.height,
        num_frames=clip.num_frames,
        batch_size=batch_size,
        is_guided=clip.guidance_scale > 1,
        device=device,
    )


def _build_of(model: ModelSpec) -> str:
    """Returns what else changes the memory of the model's calls, as text: settings of its entry, and libraries."""
    options = [f"{name}={model.options[name]}" for name in _VAE_OPTIONS if name in model.options]
    step_cache = [] if model.step_cache is None else [f"cache={model.step_cache.kind}"]
    attention = [] if model.attention == "native" else [f"attention={model.attention}"]
    casting = [] if model.layerwise_casting is None else [f"stored={model.layerwise_casting}"]
    quantized = [] if model.quantization is None else [f"quantized={_digest(str(model.quantization))}"]
    loras = [f"lora={_digest(str(lora))}" for lora in model.loras]
    compiled = ["compiled"] if model.compile_blocks else []
    devices = [f"devices={model.devices}"] if model.devices > 1 else []
    changed = [*options, *step_cache, *attention, *casting, *quantized, *loras, *compiled, *devices]
    return "+".join([model.dtype, *changed, *list_libraries()])


@cache
def list_libraries() -> tuple[str, ...]:
    """Returns the versions of the libraries that allocate the memory: another version may need more."""
    return tuple(f"{name}={version(name)}" for name in ("torch", "diffusers") if find_spec(name) is not None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
