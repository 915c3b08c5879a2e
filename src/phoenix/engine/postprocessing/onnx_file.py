"""Opens an ONNX file of the operator with onnxruntime, and runs it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from phoenix.catalog.postprocessors import Postprocessor
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)
Tensor = NDArray[Any]
_TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class TensorPort:
    """An input of a model. A dimension is None if the model takes any number there."""

    name: str
    shape: tuple[int | None, ...]
    type_name: str

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Call it only after `is_float`."""
        return _TYPES[self.type_name]

    @property
    def is_float(self) -> bool:
        return self.type_name in _TYPES

    def takes_pictures(self, *channels: int) -> bool:
        """Whether it takes one batch of pictures of any of these numbers of channels, with the channels first."""
        if not self.is_float or len(self.shape) != 4:
            return False
        return self.shape[0] in (None, 1) and self.shape[1] in channels

    def __str__(self) -> str:
        shape = "x".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name}: {self.type_name.removeprefix('tensor(').removesuffix(')')} {shape}"


class OnnxModel:
    """An open ONNX file. Thread-safe. Raises `TaskFailed` (MODEL_UNAVAILABLE) if the file cannot be used."""

    def __init__(self, spec: Postprocessor, source: str, *, device: str, threads: int = 0) -> None:
        """`device` is `cpu`, or else the GPU is used if onnxruntime can use it. `threads`: one per core if 0."""
        self._spec = spec
        path = find_checked(spec, source)
        try:
            self._session = _open_session(path, _providers(device, spec.memory_bytes), threads)
        except _errors() as error:
            raise unusable(spec, f"onnxruntime cannot read {source}: {_first_line(error)}") from error
        self.inputs: tuple[TensorPort, ...] = tuple(map(_port_of, self._session.get_inputs()))
        self.is_on_gpu: bool = self._session.get_providers()[0] == "CUDAExecutionProvider"
        _logger.info("model opened", model=spec.id, on_gpu=self.is_on_gpu)

    def run(self, values: Mapping[str, Tensor]) -> Tensor:
        """Returns the first output as 32-bit floats. Raises `TaskFailed`."""
        return self.run_all(values)[0]

    def run_all(self, values: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Returns all outputs as 32-bit floats. Raises `TaskFailed`."""
        try:
            made = cast("Sequence[Tensor]", self._session.run(None, dict(values)))
        except _errors() as error:
            is_full = self.is_on_gpu and "allocat" in str(error).lower()
            code = FailureCode.GPU_OOM if is_full else FailureCode.ENGINE_FAILED
            detail = f"{self._spec.id} failed: {_first_line(error)}"
            raise TaskFailed(code, detail, stage=Stage.POSTPROCESS, retriable=is_full) from error
        floats = [each.astype(np.float32, copy=False) for each in made]
        if not all(np.isfinite(each).all() for each in floats):
            detail = f"{self._spec.id} made values that are no numbers; export it in 32-bit floats"
            raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.POSTPROCESS)
        return floats

    def describe_inputs(self) -> str:
        return ", ".join(map(str, self.inputs)) or "none"


def unusable(spec: Postprocessor, why: str) -> TaskFailed:
    """The failure of a clip whose upscaler or interpolator this worker cannot use. Another worker may."""
    detail = f"{spec.id} cannot be used: {why}"
    return TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.LOAD, retriable=True)


def find_checked(spec: Postprocessor, source: str) -> str:
    """Returns the path of a file whose hash is the hash in its entry. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    path = Path(source).expanduser()
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest() if spec.sha256 else None
    except OSError as error:
        raise unusable(spec, f"this worker cannot read {source}: {error.strerror}") from error
    if found != spec.sha256:
        raise unusable(spec, f"the SHA-256 of {source} is {found}, and its entry says {spec.sha256}")
    return str(path)


def _runtime() -> Any:
    # Part of an extra: most workers change no frames.
    import onnxruntime  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    return cast("Any", onnxruntime)


def _open_session(path: str, providers: Sequence[Any], threads: int) -> Any:
    options = _runtime().SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    options.use_deterministic_compute = True
    # Its threads would otherwise spin between two frames, and take the cores from the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return _runtime().InferenceSession(path, options, providers=providers)


def _providers(device: str, memory_bytes: int | None) -> list[Any]:
    if device == "cpu" or "CUDAExecutionProvider" not in _runtime().get_available_providers():
        return ["CPUExecutionProvider"]
    # Finds the CUDA libraries of the packages that torch depends on, also before torch is imported.
    _runtime().preload_dlls()
    # By default, the arena doubles with each growth, and would take memory that the video models need.
    options: dict[str, Any] = {
        "device_id": int(device.partition(":")[2] or 0),
        "arena_extend_strategy": "kSameAsRequested",
    }
    if memory_bytes is not None:
        options["gpu_mem_limit"] = memory_bytes
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


@cache
def _errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: classes without a base of their own."""
    state = _runtime().capi.onnxruntime_pybind11_state
    values: list[Any] = [getattr(state, name) for name in dir(state)]
    return tuple(value for value in values if isinstance(value, type) and issubclass(value, Exception))


def _port_of(found: Any) -> TensorPort:
    shape = tuple(side if isinstance(side, int) else None for side in found.shape)
    return TensorPort(found.name, shape, found.type)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
