"""Lip models in files of the operator: ONNX by onnxruntime, TorchScript by torch. Pickles are refused."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.engine.postprocessing.onnx_file import OnnxModel, Tensor, find_checked, unusable
from phoenix.errors import FailureCode, Stage, TaskFailed, install_extra
from phoenix.lipsync.features import (
    MEL_BANDS,
    MEL_WINDOW,
    WHISPER_LAYERS,
    WHISPER_WIDTH,
    EncodeSpeech,
    MelFeatures,
    WhisperFeatures,
    mel_around,
    mel_spectrogram,
    whisper_around,
)
from phoenix.lipsync.interface import Moment, Pixels, SoundFeatures, Speech

FEATURE_SHAPES: Mapping[str, tuple[int, ...]] = {
    "mel80x16": (1, MEL_BANDS, MEL_WINDOW),
    "whisper50x384": (10 * WHISPER_LAYERS, WHISPER_WIDTH),
}


class LipFile(Protocol):
    """An open file. Takes and makes batches of any size unless `fixed_batch` names the only one."""

    fixed_batch: int | None

    def run(self, features: Tensor, pictures: Tensor) -> Tensor:
        """Returns the first output as 32-bit floats. Raises `TaskFailed`."""
        ...


class OnnxLips:
    """An ONNX file with two inputs, by their names in the manifest."""

    def __init__(self, spec: LipModelSpec, source: str, *, device: str, threads: int = 0) -> None:
        self._model = OnnxModel(spec, source, device=device, threads=threads)
        ports = {port.name: port for port in self._model.inputs}
        names = (spec.features_input, spec.pictures_input)
        if set(ports) != set(names):
            raise unusable(
                spec, f"its inputs are {self._model.describe_inputs()}, and its entry names {' and '.join(names)}"
            )
        self._features, self._pictures = (ports[name] for name in names)
        if not (self._features.is_float and self._pictures.is_float):
            raise unusable(spec, f"its inputs are {self._model.describe_inputs()}, and must be floats")
        self.fixed_batch: int | None = self._pictures.shape[0]

    def run(self, features: Tensor, pictures: Tensor) -> Tensor:
        values = {
            self._features.name: features.astype(self._features.dtype, copy=False),
            self._pictures.name: pictures.astype(self._pictures.dtype, copy=False),
        }
        return self._model.run(values)


class TorchScriptLips:
    """A TorchScript file, whose `forward` takes the two names of the manifest."""

    fixed_batch: int | None = None

    def __init__(self, spec: LipModelSpec, source: str, *, device: str, threads: int = 0) -> None:
        self._spec = spec
        path = find_checked(spec, source)
        refuse_pickles(spec, path)
        try:
            # Part of an extra, and a second of imports.
            import torch  # noqa: PLC0415
        except ImportError as error:
            raise unusable(spec, f"TorchScript needs torch: {install_extra('worker')}") from error
        self._torch: Any = cast("Any", torch)
        if threads:
            self._torch.set_num_threads(threads)
        self._device = device
        try:
            self._module = self._torch.jit.load(path, map_location=device).eval()
            names = [argument.name for argument in self._module.forward.schema.arguments][1:]
        except (RuntimeError, ValueError, AttributeError) as error:
            raise unusable(spec, f"torch cannot read {source} as TorchScript: {_first_line(error)}") from error
        wanted = (spec.features_input, spec.pictures_input)
        if set(names) != set(wanted):
            raise unusable(spec, f"its forward takes {', '.join(names)}, and its entry names {' and '.join(wanted)}")

    def run(self, features: Tensor, pictures: Tensor) -> Tensor:
        torch, spec = self._torch, self._spec
        given = {spec.features_input: features, spec.pictures_input: pictures}
        try:
            with torch.inference_mode():
                tensors = {name: torch.from_numpy(value).to(self._device) for name, value in given.items()}
                outputs: Any = self._module(**tensors)
                made: Any = cast("Any", outputs[0]) if isinstance(outputs, tuple | list) else outputs
                values: Tensor = made.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            detail = f"{spec.id} needs more memory than the device has"
            raise TaskFailed(FailureCode.GPU_OOM, detail, stage=Stage.POSTPROCESS, retriable=True) from error
        except RuntimeError as error:
            detail = f"{spec.id} failed: {_first_line(error)}"
            raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.POSTPROCESS) from error
        if not np.isfinite(values).all():
            detail = f"{spec.id} made values that are no numbers"
            raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.POSTPROCESS)
        return values


def refuse_pickles(spec: LipModelSpec, path: str) -> None:
    """Raises `TaskFailed` for a file that torch would unpickle: opening it could run any program."""
    try:
        with zipfile.ZipFile(path) as archive:
            has_code = any("/code/" in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        has_code = False
    if not has_code:
        raise unusable(
            spec,
            f"{Path(path).name} is a pickle or no TorchScript, and pickles are not opened; save the model with"
            " torch.jit.trace(model, (features, pictures)).save(path)",
        )


class FileLips:
    """The `LipModel` of a manifest and its file. A batch of zeros has proven that they fit. Thread-safe."""

    def __init__(self, spec: LipModelSpec, file: LipFile, encode: EncodeSpeech | None = None) -> None:
        """`encode`: for a model that hears by whisper. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
        self._spec, self._file, self._encode = spec, file, encode
        self.crop_px = spec.crop_px
        self.batch_size = spec.batch
        if file.fixed_batch not in (None, spec.batch):
            raise unusable(spec, f"it takes batches of {file.fixed_batch}: set batch to {file.fixed_batch}")
        self._prove()

    def hear(self, speech: Speech, fps: float) -> SoundFeatures:
        if self._encode is not None:
            return WhisperFeatures.of(speech, fps, self._encode)
        return MelFeatures(mel_spectrogram(speech.samples), fps)

    def hear_around(self, moments: Sequence[Moment]) -> NDArray[np.float32]:
        return mel_around(moments) if self._encode is None else whisper_around(moments, self._encode)

    def mouths(self, features: NDArray[np.float32], crops: Pixels) -> Pixels:
        count, size = len(crops), self._file.fixed_batch
        pictures = to_pictures(self._spec, crops)
        if size is not None and count < size:
            features, pictures = (_filled(each, size) for each in (features, pictures))
        return to_crops(self._spec, self._file.run(features, pictures)[:count])

    def _prove(self) -> None:
        spec, side = self._spec, self.crop_px
        shape = FEATURE_SHAPES[spec.features]
        pictures = to_pictures(spec, np.zeros((spec.batch, side, side, 3), np.uint8))
        try:
            made = self._file.run(np.zeros((spec.batch, *shape), np.float32), np.zeros_like(pictures))
        except TaskFailed as failure:
            takes = "x".join(map(str, (spec.batch, *shape))) + " and " + "x".join(map(str, pictures.shape))
            raise unusable(spec, f"it does not take {takes}, as its entry says: {failure.detail}") from failure
        if made.shape != (spec.batch, 3, side, side):
            wanted = f"{spec.batch}x3x{side}x{side}"
            raise unusable(spec, f"it makes {'x'.join(map(str, made.shape))}, and its entry says {wanted}")


def to_pictures(spec: LipModelSpec, crops: Pixels) -> Tensor:
    """Returns the planes that the model sees: the masked crops, and the whole crops behind them for a reference."""
    planes = np.ascontiguousarray(_ordered(spec, crops).transpose(0, 3, 1, 2), dtype=np.float32)
    planes /= 255
    masked = planes.copy()
    if spec.mask == "lower_half":
        masked[:, :, spec.crop_px // 2 :] = 0
    if spec.value_range == "-1..1":
        masked, planes = (each * 2 - 1 for each in (masked, planes))
    return masked if spec.reference == "none" else np.concatenate([masked, planes], axis=1)


def to_crops(spec: LipModelSpec, planes: Tensor) -> Pixels:
    """Returns the rounded pixels of what a model made."""
    values = (planes + 1) / 2 if spec.value_range == "-1..1" else planes
    pixels = np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(_ordered(spec, pixels))


def _ordered(spec: LipModelSpec, crops: Pixels) -> Pixels:
    return crops[..., ::-1] if spec.channels == "bgr" else crops


def _filled(values: Tensor, count: int) -> Tensor:
    return np.concatenate([values, np.zeros((count - len(values), *values.shape[1:]), values.dtype)])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def open_whisper(spec: LipModelSpec, source: str, *, device: str, threads: int = 0) -> Callable[[Tensor], Tensor]:
    """Opens the ONNX file of whisper's encoder that a manifest names. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    model = OnnxModel(spec.model_copy(update={"sha256": spec.features_sha256}), source, device=device, threads=threads)
    if len(model.inputs) != 1 or not model.inputs[0].is_float:
        raise unusable(spec, f"the inputs of {source} are {model.describe_inputs()}, and whisper takes 1x80x3000")
    port = model.inputs[0]

    def encode(spectrogram: Tensor) -> Tensor:
        made = model.run({port.name: spectrogram.astype(port.dtype, copy=False)})
        if made.ndim != 4 or made.shape[:2] != (1, WHISPER_LAYERS) or made.shape[3] != WHISPER_WIDTH:
            shape = "x".join(map(str, made.shape))
            raise unusable(spec, f"{source} makes {shape}; export all hidden layers of whisper-tiny: 1x5x1500x384")
        return made

    encode(np.zeros((1, MEL_BANDS, 3000), np.float32))
    return encode
