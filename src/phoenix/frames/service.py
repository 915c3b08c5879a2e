"""The frames service: what its WebSocket and gRPC servers call."""

import asyncio
import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.errors import FieldError, InvalidRequest, QueueFull, Unavailable
from phoenix.frames.batching import BatchWindow
from phoenix.frames.engines import EnginePool, ThreadEngine
from phoenix.frames.frame_queue import FrameQueue
from phoenix.frames.interface import FrameOut, ImageFormat, ServiceHealth, VideoInfo
from phoenix.frames.live_sound import LiveSound
from phoenix.frames.prepared import PreparedVideo
from phoenix.frames.renderer import RendererOptions
from phoenix.frames.sessions import FrameSession, SessionOptions, check_rate, check_sound, make_request
from phoenix.frames.supervisor import EngineSupervisor, SupervisorOptions, share_cores
from phoenix.frames.videos import VideoSource, VideoStore, open_videos_folder
from phoenix.ids import new_video_id
from phoenix.lipsync.faces import FaceBox
from phoenix.lipsync.models import TalkingEngines
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.probe import ProbeLimits
from phoenix.settings import Settings

__all__ = ["FaceBox", "FrameOut", "FrameService", "FrameSession", "ImageFormat", "ServiceHealth", "VideoInfo"]

_LONGEST_ONE_SHOT_S = 3.0
_BATCHES_WAITED = 3
"""A batch that hangs, a start of a process, and the batch of the new process."""


class FrameService:
    """Use it as an async context manager, on one event loop. See docs/frames.md."""

    def __init__(self, settings: Settings) -> None:
        """Raises `FfmpegMissing`, and `CatalogError`."""
        self._settings = settings
        self._frames = settings.frames
        self._catalog = load_catalog(settings.engine.catalog_file)
        self._tools = MediaTools.from_settings(settings.media)
        self._limits = ProbeLimits.from_settings(settings)
        self._detectors = TalkingEngines(device="cpu", detector=settings.lipsync.face_detector)
        self._queue = FrameQueue(BatchWindow(self._frames.batch, self._frames.window_ms / 1000))
        self._opened = ExitStack()
        self._sessions: set[FrameSession] = set()
        self._models: dict[str, LipModelSpec] = {}
        self._one_shots = 0
        self._idle = asyncio.Event()
        self._is_draining = False

    async def __aenter__(self) -> Self:
        """Raises `TaskFailed` if the default model cannot be used, and `Unavailable` if no engine starts."""
        folder = self._opened.enter_context(open_videos_folder())
        self._engines = self._open_engines(folder)
        self._videos = VideoStore(folder, most_bytes=self._frames.video_memory_bytes, on_removed=self._engines.forget)
        try:
            await self._engines.start()
            await self._load(self._settings.lipsync.default_model)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in list(self._sessions):
            await session.close()
        await self._close()

    async def register_video(self, source: Path, *, box: FaceBox | None, model: str | None) -> VideoInfo:
        """Decodes a video or a picture, and finds the face in it: in `box`, or else the largest one of each frame.

        Raises `InvalidRequest`, which names the field, `TaskFailed` if the model cannot be used, and `Unavailable`.
        """
        self._refuse_if_draining()
        spec = await self._load(model or self._settings.lipsync.default_model)
        read = VideoSource(source, self._tools, self._limits, self._frames.video_memory_bytes)
        folder = self._videos.folder / new_video_id()
        folder.mkdir(mode=0o700)
        find_faces = partial(self._detectors.find_faces, box)
        with ExitStack() as unfinished:
            unfinished.callback(shutil.rmtree, folder, ignore_errors=True)
            video = await asyncio.to_thread(read.prepare, folder, spec, find_faces, box)
            self._videos.add(video)
            unfinished.pop_all()
        return video.info

    @property
    def videos_folder(self) -> Path:
        """Where the registered videos are, each in a folder with its id."""
        return self._videos.folder

    def get_model(self, model: str) -> LipModelSpec:
        """Returns the entry of a model that a registered video uses."""
        return self._models[model]

    def get_video(self, video_id: str) -> VideoInfo:
        """Raises `NotFound`, or `Gone` if its memory was needed for other videos."""
        return self._videos.get(video_id).info

    async def remove_video(self, video_id: str) -> None:
        """Raises as `get_video`, and `Conflict` while a session shows the video."""
        self._videos.remove(video_id)

    async def render_frame(
        self,
        video_id: str,
        frame_index: int,
        audio: bytes,
        *,
        sample_rate: int,
        format: ImageFormat,  # noqa: A002
    ) -> FrameOut:
        """Renders one frame, which begins with `audio`. If the sound is shorter than 0.2 s, silence follows it.

        Raises `InvalidRequest`, `NotFound`, `Gone`, `QueueFull`, `Unavailable`, and `TaskFailed`.
        """
        self._refuse_if_draining()
        check_sound(audio)
        check_rate(sample_rate)
        if not audio:
            raise InvalidRequest.from_field_errors([FieldError("/audio", "this sound is empty; send 0.2 s of sound")])
        if self._queue.waiting >= self._frames.most_waiting:
            raise QueueFull("too many frames wait for an engine; ask for fewer at a time", retry_after_s=1)
        video = self._videos.hold(video_id)
        self._one_shots += 1
        try:
            return await self._render_held(video, frame_index, audio, sample_rate, format)
        finally:
            self._one_shots -= 1
            self._videos.release(video_id)
            self._notify_if_idle()

    async def _render_held(
        self, video: PreparedVideo, frame_index: int, audio: bytes, sample_rate: int, image_format: ImageFormat
    ) -> FrameOut:
        info = video.info
        if not 0 <= frame_index < info.frame_count:
            detail = f"the video has the frames 0 to {info.frame_count - 1}, and not {frame_index}"
            raise InvalidRequest.from_field_errors([FieldError("/frame_index", detail)])
        sound = LiveSound(self._models[info.model], rate_hz=sample_rate, fps=info.fps)
        sound.append(audio[: round(_LONGEST_ONE_SHOT_S * sample_rate) * 2])
        sound.end()
        moment = sound.find_moment(0)
        assert moment is not None
        pending = self._queue.submit(make_request(info, frame_index, moment, image_format))
        try:
            async with asyncio.timeout(_BATCHES_WAITED * self._frames.batch_timeout_s):
                image = await pending.image
        except TimeoutError as error:
            raise Unavailable("no engine has rendered this frame in time; see the log of the service") from error
        finally:
            self._queue.drop(pending)
        assert image is not None
        return FrameOut(frame_index, frame_index / info.fps, image, sound.take(0))

    def open_session(
        self,
        video_id: str,
        *,
        sample_rate: int,
        format: ImageFormat,  # noqa: A002
        max_buffered_s: float,
    ) -> FrameSession:
        """Raises `InvalidRequest`, `NotFound`, `Gone` and `Unavailable`."""
        self._refuse_if_draining()
        check_rate(sample_rate)
        video = self._videos.hold(video_id)
        options = SessionOptions(sample_rate, format, max_buffered_s, ahead=self._frames.batch)
        session = FrameSession(
            video.info, self._models[video.info.model], self._queue, options, on_closed=self._on_closed
        )
        self._sessions.add(session)
        return session

    def health(self) -> ServiceHealth:
        return ServiceHealth(
            engines=self._engines.health(),
            models=tuple(self._models),
            videos=len(self._videos),
            sessions=len(self._sessions),
            waiting=self._queue.waiting,
            rendering=self._queue.rendering,
            is_draining=self._is_draining,
        )

    async def drain(self) -> None:
        """Takes nothing new, and returns when all sound that came has been rendered and read."""
        self._is_draining = True
        for session in list(self._sessions):
            await session.end_audio()
        while self._sessions or self._one_shots:
            self._idle.clear()
            await self._idle.wait()

    def _refuse_if_draining(self) -> None:
        if self._is_draining:
            raise Unavailable("this service is about to end; try another one", retry_after_s=5)

    def _open_engines(self, folder: Path) -> EnginePool:
        frames = self._frames
        if not frames.processes:
            options = RendererOptions(folder, frames.devices[0], frames.threads, frames.jpeg_quality)
            return ThreadEngine(self._queue, options)
        devices = tuple(device for device in frames.devices for _ in range(frames.processes))
        threads = share_cores(frames.threads, len(devices))
        options = RendererOptions(folder, devices[0], threads, frames.jpeg_quality)
        supervised = SupervisorOptions(devices, options, frames.batch_timeout_s, self._settings.log.level)
        return EngineSupervisor(self._queue, supervised)

    async def _load(self, model: str) -> LipModelSpec:
        spec = self._catalog.lip_models.get(model)
        if spec is None:
            known = ", ".join(self._catalog.lip_models)
            detail = f"there is no lip model {model!r} here; choose one of: {known}"
            raise InvalidRequest.from_field_errors([FieldError("/model", detail)])
        if model not in self._models:
            await self._engines.load(spec)
            self._models[model] = spec
        return spec

    def _on_closed(self, session: FrameSession) -> None:
        self._sessions.discard(session)
        self._videos.release(session.video.video_id)
        self._notify_if_idle()

    def _notify_if_idle(self) -> None:
        if not self._sessions and not self._one_shots:
            self._idle.set()

    async def _close(self) -> None:
        await self._queue.close()
        await self._engines.close()
        self._opened.close()
