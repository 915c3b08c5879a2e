"""Renders batches: hears the sounds, asks the lip model once for all frames, pastes the mouths, encodes the images."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.engine.device import pick_device
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.frames.interface import FrameRequest, ImageFormat
from phoenix.frames.live_sound import to_floats
from phoenix.frames.prepared import PreparedVideo
from phoenix.lipsync.drawn_mouth import draw_mouth, shape_at
from phoenix.lipsync.face_engine import paste
from phoenix.lipsync.faces import FaceBox
from phoenix.lipsync.features import SILENCE_RMS, rms_of
from phoenix.lipsync.interface import LipModel, Moment, Pixels
from phoenix.lipsync.models import TalkingEngines
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_MOST_MODELS = 8


@dataclass(frozen=True)
class RendererOptions:
    """`threads`: of one call of a model, one per core if 0. `jpeg_quality`: 1 to 95."""

    videos: Path
    device: str
    threads: int
    jpeg_quality: int


@dataclass(frozen=True)
class _Asked:
    """A frame that a mouth is made for."""

    place: int
    video: PreparedVideo
    index: int
    box: FaceBox
    moment: Moment = field(repr=False)

    @property
    def frame(self) -> Pixels:
        return self.video.frames[self.index]


class BatchRenderer:
    """The models and the open videos of one process. Not thread-safe: one call at a time."""

    def __init__(self, options: RendererOptions) -> None:
        self._options = options
        self._specs: dict[str, LipModelSpec] = {}
        self._videos: dict[str, PreparedVideo] = {}
        self._engines: TalkingEngines | None = None
        self._most_crops: dict[str, int] = {}

    def load(self, spec: LipModelSpec) -> None:
        """Has the model in memory from now on. Raises `TaskFailed` (MODEL_UNAVAILABLE), or `NoSuchDevice`."""
        if spec.format != "drawn":
            self._open_model(spec)
        self._specs[spec.id] = spec

    def forget(self, video_id: str) -> None:
        """Unmaps the files of a video, so that its memory becomes free."""
        self._videos.pop(video_id, None)

    def render(self, model: str, batch: Sequence[FrameRequest]) -> Sequence[bytes]:
        """Returns an image for each request. Raises `TaskFailed`."""
        spec = self._specs[model]
        pictures = [self._find_video(each.video_id).frames[each.frame_index] for each in batch]
        changed = self._draw(batch) if spec.format == "drawn" else self._ask(spec, batch)
        made = [changed.get(place, picture) for place, picture in enumerate(pictures)]
        return [self._encode(picture, each.format) for picture, each in zip(made, batch, strict=True)]

    def _draw(self, batch: Sequence[FrameRequest]) -> Mapping[int, Pixels]:
        return {
            each.place: draw_mouth(each.frame, each.box, shape_at(each.moment, batch[each.place].peak_rms))
            for each in self._with_faces(batch)
        }

    def _ask(self, spec: LipModelSpec, batch: Sequence[FrameRequest]) -> Mapping[int, Pixels]:
        """Where nothing is heard, the frame stays as it is."""
        asked = [each for each in self._with_faces(batch) if rms_of(each.moment.samples) >= SILENCE_RMS]
        changed: dict[int, Pixels] = {}
        most = self._most_crops.get(spec.id, spec.batch)
        start = 0
        while start < len(asked):
            part = asked[start : start + most]
            try:
                mouths = self._ask_together(self._open_model(spec), part)
            except TaskFailed as failure:
                if failure.code is not FailureCode.GPU_OOM or len(part) == 1:
                    raise
                most = self._most_crops[spec.id] = max(1, len(part) // 2)
                _logger.warning("the device is out of memory; the batch is halved", batch_size=most)
                continue
            changed |= {
                each.place: paste(each.frame, each.box, mouth) for each, mouth in zip(part, mouths, strict=True)
            }
            start += len(part)
        return changed

    def _ask_together(self, model: LipModel, part: Sequence[_Asked]) -> Sequence[Pixels]:
        crops = np.stack([each.video.crops[each.index] for each in part])
        return list(model.mouths(model.hear_around([each.moment for each in part]), crops))

    def _with_faces(self, batch: Sequence[FrameRequest]) -> Sequence[_Asked]:
        asked: list[_Asked] = []
        for place, each in enumerate(batch):
            video = self._find_video(each.video_id)
            box = video.boxes[each.frame_index]
            if box is not None:
                moment = Moment(to_floats(each.samples), each.at, video.info.fps)
                asked.append(_Asked(place, video, each.frame_index, box, moment))
        return asked

    def _find_video(self, video_id: str) -> PreparedVideo:
        if video_id not in self._videos:
            try:
                self._videos[video_id] = PreparedVideo.open(self._options.videos / video_id)
            except OSError as error:
                detail = f"the files of the video {video_id} cannot be read: {error.strerror}"
                raise TaskFailed(FailureCode.STORAGE_FAILED, detail, stage=Stage.FETCH, retriable=True) from error
        return self._videos[video_id]

    def _open_model(self, spec: LipModelSpec) -> LipModel:
        if self._engines is None:
            options = self._options
            device = pick_device(options.device)
            self._engines = TalkingEngines(device=device, threads=options.threads, most_models=_MOST_MODELS)
        return self._engines.open_model(spec)

    def _encode(self, picture: Pixels, image_format: ImageFormat) -> bytes:
        if image_format is ImageFormat.RAW:
            return picture.tobytes()
        encoded = io.BytesIO()
        # Half of the time of an optimal encoding, for a tenth more bytes.
        Image.fromarray(picture).save(encoded, "JPEG", quality=self._options.jpeg_quality)
        return encoded.getvalue()
