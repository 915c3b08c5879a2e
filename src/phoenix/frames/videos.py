"""Registered videos: decoded once to files that all engine processes map, with the face of each frame cut out."""

import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from PIL import Image

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.engine.file_lock import try_lock
from phoenix.errors import Conflict, FailureCode, FieldError, Gone, InvalidRequest, NotFound, TaskFailed, Unavailable
from phoenix.frames.interface import VideoInfo
from phoenix.frames.prepared import CROPS, FRAMES, PreparedVideo
from phoenix.lipsync.face_engine import cut
from phoenix.lipsync.faces import FaceBox, FaceFinder, track
from phoenix.lipsync.interface import Pixels
from phoenix.media.commands.video import Picture
from phoenix.media.decode import count_frames, decode_video
from phoenix.media.errors import UnreadableMedia
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.still_pictures import open_picture

_PREFIX, _LOCK = "phoenix-frames-", "lock"
_YOUNG_S = 60.0
"""A folder that is younger may not be locked yet."""


@contextmanager
def open_videos_folder() -> Generator[Path]:
    """A folder for the videos of this process. Removes those that killed processes have left."""
    for left in Path(gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _YOUNG_S and (lock := try_lock(left / _LOCK)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
    with TemporaryDirectory(prefix=_PREFIX) as folder:
        lock = try_lock(Path(folder, _LOCK))
        videos = Path(folder, "videos")
        videos.mkdir()
        yield videos
        if lock is not None:
            os.close(lock)


@dataclass(frozen=True)
class VideoSource:
    """A file of a client, and how it is read. `most_bytes`: of its decoded frames."""

    path: Path
    tools: MediaTools
    limits: ProbeLimits
    most_bytes: int

    def prepare(
        self, folder: Path, spec: LipModelSpec, open_finder: Callable[[], FaceFinder], box: FaceBox | None
    ) -> PreparedVideo:
        """Decodes the file and finds the faces. Blocks for seconds. Raises `InvalidRequest`, which names the field."""
        try:
            picture, count = self._decode(folder, spec)
        except UnreadableMedia as error:
            raise _refusal("/video", error.detail) from error
        except TaskFailed as failure:
            if failure.code is not FailureCode.MEDIA_INVALID:
                raise
            raise _refusal("/video", failure.detail) from failure
        if box is not None and (box.left + box.width > picture.width or box.top + box.height > picture.height):
            size = f"{picture.width}x{picture.height}"
            raise _refusal("/box", f"the box leaves the picture, which is {size}; give a box inside it")
        try:
            finder = open_finder()
        except TaskFailed as error:
            raise _refusal("/box", error.detail) from error
        info = VideoInfo(folder.name, picture.width, picture.height, float(picture.fps), count, 0, spec.id)
        return _find_faces(PreparedVideo(folder, info, spec.crop_px, ()), finder)

    def _decode(self, folder: Path, spec: LipModelSpec) -> tuple[Picture, int]:
        """Writes the frames. A picture has the frame rate of its model."""
        frames = folder / FRAMES
        found = probe_media(self.path, self.limits)
        if found.media == "image":
            still = self._open_picture()
            picture = Picture(still.width, still.height, Fraction(spec.fps).limit_denominator(1001))
            self._check(picture, spec, 1)
            frames.write_bytes(still.convert("RGB").tobytes())
            return picture, 1
        if found.media != "video":
            raise _refusal("/video", f"this file is {found.media}; give a video or a picture")
        count, picture = count_frames(self.path, self.limits)
        self._check(picture, spec, count)
        return picture, decode_video(
            self.path, picture, frames, max_frames=count, min_frames=1, tools=self.tools, limits=self.limits
        )

    def _open_picture(self) -> Image.Image:
        try:
            return open_picture(self.path)
        except (OSError, ValueError, SyntaxError) as error:
            raise UnreadableMedia("the picture cannot be read") from error

    def _check(self, picture: Picture, spec: LipModelSpec, count: int) -> None:
        needed = count * (picture.frame_bytes + 3 * spec.crop_px**2)
        if needed > self.most_bytes:
            detail = f"its {count} frames take {needed} bytes, and this server keeps {self.most_bytes}"
            raise _refusal("/video", f"{detail} (PHOENIX_FRAMES__VIDEO_MEMORY_BYTES); give a shorter or smaller video")


def _find_faces(video: PreparedVideo, finder: FaceFinder) -> PreparedVideo:
    info, side = video.info, video.crop_px
    boxes: list[FaceBox | None] = []
    with (video.folder / CROPS).open("wb") as crops:
        for frame, box in track(_each(video.frames), finder):
            boxes.append(box)
            crops.write(bytes(3 * side**2) if box is None else cut(frame, box, side).tobytes())
    with_face = sum(box is not None for box in boxes)
    if not with_face:
        raise _refusal("/video", "no face appears in it; give the box of the face")
    found = replace(video, info=replace(info, frames_with_face=with_face), boxes=tuple(boxes))
    found.save()
    return found


def _each(frames: Pixels) -> Iterator[Pixels]:
    yield from frames


def _refusal(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest.from_field_errors([FieldError(pointer, detail)])


@dataclass(eq=False)
class _Registered:
    video: PreparedVideo
    sessions: int = 0


class VideoStore:
    """The registered videos, the least recently used first. A new one takes the memory of videos without a session."""

    def __init__(self, folder: Path, *, most_bytes: int, on_removed: Callable[[str], None]) -> None:
        self.folder, self._most_bytes = folder, most_bytes
        self._on_removed = on_removed
        self._videos: OrderedDict[str, _Registered] = OrderedDict()
        self._evicted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._videos)

    def add(self, video: PreparedVideo) -> None:
        """Raises `Unavailable` if sessions use so many videos that there is no memory for this one."""
        in_use = [each.video.size_bytes for each in self._videos.values() if each.sessions]
        if sum(in_use) + video.size_bytes > self._most_bytes:
            shutil.rmtree(video.folder, ignore_errors=True)
            raise Unavailable("the videos of open sessions take all of the memory for videos; try again later")
        unused = [name for name, each in self._videos.items() if not each.sessions]
        while unused and self._size_bytes() + video.size_bytes > self._most_bytes:
            self._evicted[unused[0]] = None
            self._remove(unused.pop(0))
        while len(self._evicted) > _MOST_REMEMBERED:
            self._evicted.popitem(last=False)
        self._videos[video.info.video_id] = _Registered(video)

    def get(self, video_id: str) -> PreparedVideo:
        """Raises `NotFound`, or `Gone` if the video was evicted."""
        if video_id in self._evicted:
            raise Gone("the memory of this video was needed for others; register it again")
        if video_id not in self._videos:
            raise NotFound(f"there is no video {video_id!r} here; register it first")
        self._videos.move_to_end(video_id)
        return self._videos[video_id].video

    def hold(self, video_id: str) -> PreparedVideo:
        """Keeps a video until `release`. Raises as `get`."""
        video = self.get(video_id)
        self._videos[video_id].sessions += 1
        return video

    def release(self, video_id: str) -> None:
        """A video that nobody holds can be removed, and evicted."""
        self._videos[video_id].sessions -= 1

    def remove(self, video_id: str) -> None:
        """Raises `NotFound`, or `Conflict` while a session uses the video."""
        self.get(video_id)
        if self._videos[video_id].sessions:
            raise Conflict("a session shows this video; close the session first")
        self._remove(video_id)

    def _size_bytes(self) -> int:
        return sum(each.video.size_bytes for each in self._videos.values())

    def _remove(self, video_id: str) -> None:
        shutil.rmtree(self._videos.pop(video_id).video.folder, ignore_errors=True)
        self._on_removed(video_id)


_MOST_REMEMBERED = 10_000
