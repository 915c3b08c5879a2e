"""The registered videos with their owners: a file of the caller, or an artifact of the API, becomes a video."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from phoenix.access.keys import Caller
from phoenix.db import Database
from phoenix.errors import FieldError, Gone, InvalidRequest, NotFound, PayloadTooLarge
from phoenix.frames.front.faults import Fault, FrameError
from phoenix.frames.interface import VideoInfo
from phoenix.frames.service import FrameService
from phoenix.jobs.repository import get_artifact
from phoenix.lipsync.faces import FaceBox
from phoenix.settings import Settings
from phoenix.storage.store import ArtifactStore

_WRITE_BYTES = 1_048_576


@dataclass(frozen=True)
class VideoOptions:
    """How a file becomes a video. A detector looks for the face without a box."""

    model: str | None = None
    box: FaceBox | None = None


class OwnedVideos:
    """The registered videos of a process. A caller sees its own, and no others."""

    def __init__(self, service: FrameService, database: Database, store: ArtifactStore, settings: Settings) -> None:
        """`database` and `store` have the artifacts of the API."""
        self._service = service
        self._database = database
        self._store = store
        self._limits = settings.frames
        self._max_upload_bytes = settings.limits.max_upload_bytes
        self._owners: dict[str, str] = {}
        self._beginning: Counter[str] = Counter()
        """How many videos of each owner are being registered."""

    def get(self, video_id: str, caller: Caller) -> VideoInfo:
        """Raises `NotFound` also for a video of another owner."""
        if self._owners.get(video_id) != caller.owner_id:
            raise NotFound(f"There is no video {video_id[:100]}. Register it here first.")
        try:
            return self._service.get_video(video_id)
        except (Gone, NotFound):
            # The service has forgotten it for another one.
            self._owners.pop(video_id, None)
            raise

    async def remove(self, video_id: str, caller: Caller) -> None:
        """Raises `NotFound`."""
        self.get(video_id, caller)
        await self._service.remove_video(video_id)
        self._owners.pop(video_id, None)

    async def add_upload(self, chunks: AsyncIterator[bytes], options: VideoOptions, caller: Caller) -> VideoInfo:
        """Registers a file that arrives. Raises `FrameError`, `PayloadTooLarge` and `InvalidRequest`."""
        with self._counting(caller), _new_file() as path:
            await _write(path, chunks, max_bytes=self._max_upload_bytes)
            return await self._register(path, options, caller)

    async def add_artifact(self, artifact_id: str, options: VideoOptions, caller: Caller) -> VideoInfo:
        """Registers a file that the API has stored. Raises like `add_upload`, and `NotFound`."""
        with self._counting(caller), _new_file() as path:
            async with self._database.read() as session:
                artifact = await get_artifact(session, artifact_id, owner_id=caller.owner_id)
            await self._store.download_to(artifact.key, path)
            return await self._register(path, options, caller)

    async def _register(self, path: Path, options: VideoOptions, caller: Caller) -> VideoInfo:
        video = await self._service.register_video(path, box=options.box, model=options.model)
        self._owners[video.video_id] = caller.owner_id
        return video

    @contextmanager
    def _counting(self, caller: Caller) -> Generator[None]:
        """Counts a video that is being registered. Raises `FrameError` if there are too many."""
        limits = self._limits
        owned = sum(owner == caller.owner_id for owner in self._owners.values())
        if owned + self._beginning[caller.owner_id] >= limits.videos_per_key:
            detail = f"This key has {limits.videos_per_key} videos here, which is its limit. Remove one first."
            raise FrameError(Fault.TOO_MANY_VIDEOS, detail)
        if len(self._owners) + self._beginning.total() >= limits.max_videos:
            detail = f"This server has {limits.max_videos} videos, which is its limit. Try again later."
            raise FrameError(Fault.TOO_MANY_VIDEOS, detail, retry_after_s=60)
        self._beginning[caller.owner_id] += 1
        try:
            yield
        finally:
            self._beginning[caller.owner_id] -= 1
            self._beginning = +self._beginning


@contextmanager
def _new_file() -> Generator[Path]:
    with TemporaryDirectory(prefix="phoenix-frames-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "source"


async def _write(path: Path, chunks: AsyncIterator[bytes], *, max_bytes: int) -> None:
    unwritten, size_bytes = bytearray(), 0
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise PayloadTooLarge(f"The file is larger than {max_bytes} bytes, which is the limit here.")
            unwritten += chunk
            if len(unwritten) >= _WRITE_BYTES:
                await asyncio.to_thread(file.write, bytes(unwritten))
                unwritten.clear()
        await asyncio.to_thread(file.write, bytes(unwritten))
    if not size_bytes:
        detail = "The body is empty. Send the bytes of a video or a picture, or the id of an artifact."
        raise InvalidRequest(detail, field_errors=[FieldError("/video", detail)])
