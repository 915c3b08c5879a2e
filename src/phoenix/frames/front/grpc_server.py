"""The gRPC server: `phoenix.frames.v1.Frames`, server reflection, and a health that follows the service."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, assert_never

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.datastructures import Headers

from phoenix.access import keys, open_slots
from phoenix.async_tasks import in_background
from phoenix.clock import in_seconds
from phoenix.frames.front import client_messages as messages
from phoenix.frames.front.callers import Presented, find_forwarded
from phoenix.frames.front.faults import Fault, FrameError, explain
from phoenix.frames.front.meters import FrameMeters, FrameTransport
from phoenix.frames.front.open_sessions import OpenSubject
from phoenix.frames.front.owned_videos import VideoOptions
from phoenix.frames.front.relay import ClientLeft
from phoenix.frames.front.state import FrontState
from phoenix.frames.interface import FrameOut, ImageFormat, VideoInfo
from phoenix.frames.v1 import frames_pb2, frames_pb2_grpc
from phoenix.lipsync.faces import FaceBox

SERVICE_NAME = frames_pb2.DESCRIPTOR.services_by_name["Frames"].full_name
FAULT_KEY = "phoenix-fault"
_HEALTH_INTERVAL_S = 1.0
_FORMATS: Mapping[int, ImageFormat] = {
    frames_pb2.IMAGE_FORMAT_UNSPECIFIED: ImageFormat.JPEG,
    frames_pb2.IMAGE_FORMAT_JPEG: ImageFormat.JPEG,
    frames_pb2.IMAGE_FORMAT_RAW: ImageFormat.RAW,
}

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def grpc_server(state: FrontState, address: str) -> AsyncGenerator[tuple[grpc.aio.Server, int]]:
    """Serves at `address` during the block. Yields the server and its port. Raises `OSError` if the port is taken."""
    frames = state.settings.frames
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", frames.max_message_bytes + 1024),
            ("grpc.max_send_message_length", -1),
            # Two processes on one port would otherwise share its connections without a word.
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 30_000),
        ]
    )
    frames_pb2_grpc.add_FramesServicer_to_server(FrameCalls(state), server)  # pyright: ignore[reportUnknownMemberType]
    answers = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(answers, server)
    names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen at {address}: {error}") from error
    await server.start()
    async with in_background(_follow_health(state, answers), name="grpc-health"):
        try:
            yield server, port
        finally:
            await server.stop(0)


async def _follow_health(state: FrontState, answers: health.aio.HealthServicer) -> None:
    while True:
        is_serving = state.is_serving
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE_NAME):
            await answers.set(name, status)
        await asyncio.sleep(_HEALTH_INTERVAL_S)


class RemoteClient:
    """The client of one session over gRPC."""

    def __init__(
        self, requests: AsyncIterator[frames_pb2.SessionRequest], context: Context, meters: FrameMeters
    ) -> None:
        self._requests = requests
        self._context = context
        self._meters = meters
        # gRPC takes one message at a time.
        self._lock = asyncio.Lock()

    async def incoming(self) -> AsyncIterator[messages.ClientMessage]:
        async for request in self._requests:
            match request.WhichOneof("message"):
                case "sound":
                    yield messages.SoundChunk(request.sound.sequence, messages.check_samples(request.sound.pcm))
                case "clear":
                    yield messages.Control.CLEAR
                case "end":
                    yield messages.Control.END
                case _:
                    raise FrameError(Fault.MALFORMED_MESSAGE, "An open session takes `sound`, `clear` and `end`.")

    async def send_frame(self, frame: FrameOut, sequence: int) -> None:
        await self._write(frames_pb2.SessionResponse(frame=_write_frame(frame, sequence)))
        self._meters.count_frame(FrameTransport.GRPC, len(frame.image) + len(frame.audio))

    async def send(self, news: messages.SessionNews) -> None:
        await self._write(_write_news(news))

    async def _write(self, response: frames_pb2.SessionResponse) -> None:
        async with self._lock:
            try:
                await self._context.write(response)
            except (grpc.aio.InternalError, asyncio.InvalidStateError) as error:
                raise ClientLeft from error


class FrameCalls(frames_pb2_grpc.FramesServicer):
    """The methods of the service. Their names are gRPC's."""

    def __init__(self, state: FrontState) -> None:
        self._state = state

    async def RegisterVideo(  # noqa: N802
        self, request_iterator: AsyncIterator[frames_pb2.RegisterVideoRequest], context: Context
    ) -> frames_pb2.Video:
        async with self._named_faults(context):
            caller = await self._authenticate(context, keys.Scope.WRITE)
            limit_s = self._state.settings.limits.upload_timeout_s
            try:
                async with asyncio.timeout(limit_s):
                    return _write_video(await self._register(request_iterator, caller))
            except TimeoutError:
                raise FrameError(Fault.IDLE, f"The file did not arrive within {in_seconds(limit_s)}.") from None

    async def _register(
        self, requests: AsyncIterator[frames_pb2.RegisterVideoRequest], caller: keys.Caller
    ) -> VideoInfo:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "source":
            raise FrameError(Fault.MALFORMED_MESSAGE, "The first message is the `source` of the video.")
        source, videos = first.source, self._state.videos
        box = source.box
        options = VideoOptions(
            source.model or None,
            FaceBox(box.x, box.y, box.width, box.height) if source.HasField("box") else None,
        )
        if source.artifact_id:
            return await videos.add_artifact(source.artifact_id, options, caller)
        return await videos.add_upload(_read_chunks(requests), options, caller)

    async def GetVideo(self, request: frames_pb2.GetVideoRequest, context: Context) -> frames_pb2.Video:  # noqa: N802
        async with self._named_faults(context):
            caller = await self._authenticate(context, keys.Scope.READ)
            return _write_video(self._state.videos.get(request.video_id, caller))

    async def RemoveVideo(  # noqa: N802
        self, request: frames_pb2.RemoveVideoRequest, context: Context
    ) -> frames_pb2.RemoveVideoResponse:
        async with self._named_faults(context):
            caller = await self._authenticate(context, keys.Scope.WRITE)
            await self._state.videos.remove(request.video_id, caller)
        return frames_pb2.RemoveVideoResponse()

    async def RenderFrame(self, request: frames_pb2.RenderFrameRequest, context: Context) -> frames_pb2.Frame:  # noqa: N802
        async with self._named_faults(context):
            caller = await self._state.callers.authenticate_frame(self._presented(context))
            self._state.videos.get(request.video_id, caller)
            frame = await self._state.service.render_frame(
                request.video_id,
                request.frame_index,
                request.audio,
                sample_rate=request.sample_rate,
                format=_read_format(request.format),
            )
            self._state.meters.count_frame(FrameTransport.GRPC, len(frame.image) + len(frame.audio))
            return _write_frame(frame, 0)

    async def Session(  # noqa: N802
        self, request_iterator: AsyncIterator[frames_pb2.SessionRequest], context: Context
    ) -> None:
        async with self._named_faults(context):
            opening = await self._read_opening(request_iterator)
            caller = await self._authenticate(context, keys.Scope.WRITE)
            presented = self._presented(context)
            subject = OpenSubject(caller, open_slots.transfer_subject(presented.scope, caller), FrameTransport.GRPC)
            client = RemoteClient(request_iterator, context, self._state.meters)
            await self._state.sessions.serve(opening, subject, client)

    async def _read_opening(self, requests: AsyncIterator[frames_pb2.SessionRequest]) -> messages.OpenSession:
        limit_s = self._state.settings.frames.open_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                first = await anext(requests, None)
        except TimeoutError:
            raise FrameError(Fault.IDLE, f"No session was opened within {in_seconds(limit_s)}.") from None
        if first is None or first.WhichOneof("message") != "open":
            raise FrameError(Fault.MALFORMED_MESSAGE, "The first message opens the session.")
        given = first.open
        return messages.check_opening(
            video_id=given.video_id,
            sample_rate=given.sample_rate,
            format=_read_format(given.format),
            max_buffered_s=given.max_buffered_s or 1.0,
        )

    async def _authenticate(self, context: Context, scope: keys.Scope) -> keys.Caller:
        return await self._state.callers.authenticate(self._presented(context), scope)

    def _presented(self, context: Context) -> Presented:
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str)]
        headers = Headers(raw=[(key.encode(), value.encode()) for key, value in metadata])
        # `ipv4:127.0.0.1:5000`, or `ipv6:%5B::1%5D:5000`.
        address = context.peer().partition(":")[2].rpartition(":")[0].replace("%5B", "").replace("%5D", "")
        proxies = self._state.settings.api.trusted_proxies
        return Presented(headers, find_forwarded(address, headers.getlist("x-forwarded-for"), proxies))

    @asynccontextmanager
    async def _named_faults(self, context: Context) -> AsyncGenerator[None]:
        """Ends the call with the status and the name of what the block raises."""
        try:
            yield
        except (grpc.aio.AbortError, ClientLeft):
            raise
        except Exception as error:  # noqa: BLE001 - an unexpected one is logged and hidden
            explained = explain(error)
            self._state.meters.count_fault(FrameTransport.GRPC, explained.fault)
            code = grpc.StatusCode[explained.kind.grpc_code]
            await context.abort(code, explained.detail, ((FAULT_KEY, explained.fault.value),))


async def _read_chunks(requests: AsyncIterator[frames_pb2.RegisterVideoRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise FrameError(Fault.MALFORMED_MESSAGE, "After the `source`, the bytes of the file follow in `chunk`.")
        yield request.chunk


def _read_format(value: int) -> ImageFormat:
    if value not in _FORMATS:
        raise FrameError(Fault.INVALID_REQUEST, f"/format: {value} is no format; give JPEG or RAW.")
    return _FORMATS[value]


def _write_video(video: VideoInfo) -> frames_pb2.Video:
    return frames_pb2.Video(**messages.SessionVideo.of(video).model_dump())


def _write_frame(frame: FrameOut, sequence: int) -> frames_pb2.Frame:
    return frames_pb2.Frame(
        sequence=sequence, index=frame.index, pts_s=frame.pts_s, audio=frame.audio, image=frame.image
    )


def _write_news(news: messages.SessionNews) -> frames_pb2.SessionResponse:
    match news:
        case messages.SessionOpened():
            video = frames_pb2.Video(**news.video.model_dump())
            opened = frames_pb2.SessionOpened(session_id=news.session_id, video=video)
            return frames_pb2.SessionResponse(opened=opened)
        case messages.SoundCleared():
            return frames_pb2.SessionResponse(cleared=frames_pb2.SoundCleared(next_index=news.next_index))
        case messages.SessionDraining():
            return frames_pb2.SessionResponse(draining=frames_pb2.SessionDraining(ends_in_s=news.ends_in_s))
        case messages.SessionEnded():
            return frames_pb2.SessionResponse(ended=frames_pb2.SessionEnded(frames=news.frames))
        case messages.SessionFailed():
            raise AssertionError("gRPC has a status for it")
        case _:
            assert_never(news)
