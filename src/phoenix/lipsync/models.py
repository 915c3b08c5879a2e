"""Opens talking engines by the entries of the catalog, and keeps the last lip models in memory."""

import threading
from collections import OrderedDict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from phoenix.catalog.postprocessors import LipModelSpec, Postprocessor
from phoenix.errors import FailureCode, Stage, TaskFailed, install_extra

if TYPE_CHECKING:
    from phoenix.lipsync.face_engine import BatchLimit
    from phoenix.lipsync.faces import DetectedFace, FaceBox, FaceFinder
    from phoenix.lipsync.interface import LipModel, TalkingEngine

_MOST_MODELS = 2


class TalkingEngines:
    """The talking engines of one worker process. Thread-safe.

    `detector` is an ONNX file that finds faces. Without it, a face is where the request says. `threads`: of one call of
    a model, one per core if 0.
    """

    def __init__(
        self, *, device: str, detector: str | None = None, threads: int = 0, most_models: int = _MOST_MODELS
    ) -> None:
        self._device, self._detector = device, detector
        self._threads, self._most_models = threads, most_models
        self._lock = threading.Lock()
        self._models: OrderedDict[LipModelSpec, tuple[LipModel, BatchLimit]] = OrderedDict()
        self._face: DetectedFace | None = None

    def open(self, spec: LipModelSpec, box: "FaceBox | None") -> "TalkingEngine":
        """Opens the engine of an entry, for the face in `box`, or else for the largest face that is found.

        Raises `TaskFailed` (MODEL_UNAVAILABLE) if this worker cannot use the files that it needs.
        """
        # They need numpy, which starts threads: a process that is forked must not have any.
        from phoenix.lipsync.drawn_mouth import DrawnMouth  # noqa: PLC0415
        from phoenix.lipsync.face_engine import FaceEngine  # noqa: PLC0415

        with self._lock:
            faces = self.find_faces(box)
            if spec.format == "drawn":
                return DrawnMouth(faces)
            model, limit = self._find_model(spec)
            return FaceEngine(model, faces, limit)

    def uses_gpu(self, spec: LipModelSpec) -> bool:
        """Whether the engine of an entry works on a GPU, of which it needs a slot then."""
        return spec.format != "drawn" and self._device.startswith("cuda")

    def find_fault(self, spec: LipModelSpec) -> str | None:
        """Why this process cannot use a lip model, or the detector. Opens their files; takes seconds."""
        if find_spec("numpy") is None:
            return install_extra("media")
        from phoenix.lipsync.faces import FaceBox  # noqa: PLC0415

        try:
            self.open(spec, None if self._detector else FaceBox(0, 0, 64, 64))
        except TaskFailed as failure:
            return failure.detail
        return None

    def open_model(self, spec: LipModelSpec) -> "LipModel":
        """Opens the file of an entry that has one. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
        with self._lock:
            return self._find_model(spec)[0]

    def find_faces(self, box: "FaceBox | None") -> "FaceFinder":
        """Returns what finds the face: at `box`, or else the detector. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
        from phoenix.lipsync.faces import DetectedFace, FixedFace  # noqa: PLC0415

        if box is not None:
            return FixedFace(box)
        if self._detector is None:
            detail = "this worker has no face detector: give the box of the face, or set PHOENIX_LIPSYNC__FACE_DETECTOR"
            raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.LOAD, retriable=True)
        if self._face is None:
            _require_onnxruntime()
            spec = Postprocessor(id="face-detector", title="Face detector")
            self._face = DetectedFace(spec, self._detector, device="cpu")
        return self._face

    def _find_model(self, spec: LipModelSpec) -> "tuple[LipModel, BatchLimit]":
        from phoenix.lipsync.face_engine import BatchLimit  # noqa: PLC0415

        if spec not in self._models:
            model = self._open_model(spec)
            self._models[spec] = model, BatchLimit(model.batch_size)
            while len(self._models) > self._most_models:
                self._models.popitem(last=False)
        self._models.move_to_end(spec)
        return self._models[spec]

    def _open_model(self, spec: LipModelSpec) -> "LipModel":
        assert spec.source is not None
        if spec.format == "onnx" or spec.features_source is not None:
            _require_onnxruntime()
        from phoenix.lipsync.lip_files import FileLips, OnnxLips, TorchScriptLips, open_whisper  # noqa: PLC0415

        opened = OnnxLips if spec.format == "onnx" else TorchScriptLips
        whisper = spec.features_source
        where: Any = {"device": self._device, "threads": self._threads}
        encode = open_whisper(spec, whisper, **where) if whisper is not None else None
        return FileLips(spec, opened(spec, spec.source, **where), encode)


def _require_onnxruntime() -> None:
    if find_spec("onnxruntime") is None:
        detail = f"this worker lacks onnxruntime; {install_extra('postprocess')}"
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.LOAD, retriable=True)
