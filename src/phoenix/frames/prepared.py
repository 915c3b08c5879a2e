"""A video as engines read it: files that all processes map, so that each frame is in memory once."""

import json
import mmap
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from phoenix.frames.interface import VideoInfo
from phoenix.lipsync.faces import FaceBox
from phoenix.lipsync.interface import Pixels

FRAMES, CROPS = "frames.rgb", "crops.rgb"
_FACTS = "video.json"


@dataclass(frozen=True)
class PreparedVideo:
    """A video in its folder. `boxes`: the face of each frame, None without one. The files are read where they lie."""

    folder: Path
    info: VideoInfo
    crop_px: int
    boxes: tuple[FaceBox | None, ...] = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> "PreparedVideo":
        """Raises `OSError` if the video was removed."""
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        boxes = tuple(box and FaceBox(*box) for box in facts["boxes"])
        return cls(folder, VideoInfo(**facts["info"]), facts["crop_px"], boxes)

    def save(self) -> None:
        """Writes all that `open` reads, after the frames and the crops."""
        boxes = [box and (box.left, box.top, box.width, box.height) for box in self.boxes]
        facts = {"info": asdict(self.info), "crop_px": self.crop_px, "boxes": boxes}
        (self.folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")

    @property
    def size_bytes(self) -> int:
        info = self.info
        return info.frame_count * 3 * (info.width * info.height + self.crop_px**2)

    @cached_property
    def frames(self) -> Pixels:
        """All frames: frame x row x column x colour."""
        return _map(self.folder / FRAMES, (self.info.frame_count, self.info.height, self.info.width, 3))

    @cached_property
    def crops(self) -> Pixels:
        """The face of each frame, as the model sees it. Black for a frame without one."""
        return _map(self.folder / CROPS, (self.info.frame_count, self.crop_px, self.crop_px, 3))


def _map(path: Path, shape: tuple[int, ...]) -> Pixels:
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), np.uint8).reshape(shape)
