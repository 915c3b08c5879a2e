"""The gRPC server, called with the generated client: videos, single frames, sessions, faults, health and reflection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fixtures.api import until
from fixtures.echo_frames import FPS, EchoFront, image_of, open_echo_front
from phoenix.frames.front.grpc_server import FAULT_KEY, SERVICE_NAME
from phoenix.frames.v1 import frames_pb2, frames_pb2_grpc
from phoenix.settings import Settings

RATE_HZ = 16_000
FRAME_BYTES = RATE_HZ // FPS * 2
TIMEOUT_S = 100


@asynccontextmanager
async def stub_of(front: EchoFront) -> AsyncIterator[frames_pb2_grpc.FramesStub]:
    async with grpc.aio.insecure_channel(front.grpc) as channel:
        yield frames_pb2_grpc.FramesStub(channel)


def upload(*chunks: bytes, **source: object) -> Iterator[frames_pb2.RegisterVideoRequest]:
    yield frames_pb2.RegisterVideoRequest(source=frames_pb2.VideoSource(**source))
    for chunk in chunks:
        yield frames_pb2.RegisterVideoRequest(chunk=chunk)


def opening(video_id: str) -> frames_pb2.SessionRequest:
    return frames_pb2.SessionRequest(open=frames_pb2.OpenSession(video_id=video_id, sample_rate=RATE_HZ))


def sound(sequence: int, pcm: bytes) -> frames_pb2.SessionRequest:
    return frames_pb2.SessionRequest(sound=frames_pb2.Sound(sequence=sequence, pcm=pcm))


def fault_of(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    return error.code(), dict(error.trailing_metadata())[FAULT_KEY]


async def test_a_file_that_comes_in_parts_becomes_a_video(echo_front: EchoFront) -> None:
    box = frames_pb2.Box(x=1, y=2, width=30, height=40)
    async with stub_of(echo_front) as stub:
        video = await stub.RegisterVideo(upload(b"a ", b"face", box=box, model="m"), timeout=TIMEOUT_S)
        shown = await stub.GetVideo(frames_pb2.GetVideoRequest(video_id=video.video_id), timeout=TIMEOUT_S)

    (kept,) = echo_front.service.boxes
    assert echo_front.service.sources == [b"a face"]
    assert kept is not None
    assert (kept.left, kept.top, kept.width, kept.height) == (1, 2, 30, 40)
    assert (video, video.model, video.fps) == (shown, "m", FPS)


async def test_a_removed_video_is_gone(echo_front: EchoFront) -> None:
    video_id = await echo_front.register()
    async with stub_of(echo_front) as stub:
        await stub.RemoveVideo(frames_pb2.RemoveVideoRequest(video_id=video_id), timeout=TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetVideo(frames_pb2.GetVideoRequest(video_id=video_id), timeout=TIMEOUT_S)

    assert fault_of(refused.value) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_a_single_frame_is_rendered_to_its_sound(echo_front: EchoFront) -> None:
    video_id = await echo_front.register()
    async with stub_of(echo_front) as stub:
        request = frames_pb2.RenderFrameRequest(video_id=video_id, frame_index=4, audio=b"\1\0", sample_rate=RATE_HZ)
        frame = await stub.RenderFrame(request, timeout=TIMEOUT_S)

    assert (frame.index, frame.image, frame.audio) == (4, image_of(4), b"\1\0")


async def test_a_session_gives_each_frame_with_its_sound(echo_front: EchoFront) -> None:
    video_id = await echo_front.register()
    requests = [opening(video_id), sound(0, b"\1" * FRAME_BYTES), sound(1, b"\2" * FRAME_BYTES)]
    async with stub_of(echo_front) as stub:
        answers = [answer async for answer in stub.Session(iter(requests), timeout=TIMEOUT_S)]

    assert [answer.WhichOneof("message") for answer in answers] == ["opened", "frame", "frame", "ended"]
    frames = [answer.frame for answer in answers[1:3]]
    assert [(frame.sequence, frame.index, frame.image) for frame in frames] == [(n, n, image_of(n)) for n in range(2)]
    assert b"".join(frame.audio for frame in frames) == b"\1" * FRAME_BYTES + b"\2" * FRAME_BYTES
    assert answers[3].ended.frames == 2


async def test_an_interruption_names_the_next_frame(echo_front: EchoFront) -> None:
    video_id = await echo_front.register()
    echo_front.service.gate.clear()
    async with stub_of(echo_front) as stub:
        call = stub.Session(timeout=TIMEOUT_S)
        for request in (opening(video_id), sound(0, b"\1" * FRAME_BYTES)):
            await call.write(request)
        await call.write(frames_pb2.SessionRequest(clear=frames_pb2.ClearSound()))
        opened, cleared = await call.read(), await call.read()
        echo_front.service.gate.set()
        await call.write(sound(1, b"\2" * FRAME_BYTES))
        await call.write(frames_pb2.SessionRequest(end=frames_pb2.EndSound()))
        frame, ended = await call.read(), await call.read()

    assert opened.HasField("opened")
    assert cleared.cleared.next_index == 0
    assert (frame.frame.audio, ended.ended.frames) == (b"\2" * FRAME_BYTES, 1)


@pytest.mark.parametrize(
    ("requests", "code", "fault"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE"),
        ([sound(0, b"\0\0")], grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE"),
        ([opening("vid_unknown")], grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        ([opening("known"), sound(1, b"\0\0")], grpc.StatusCode.FAILED_PRECONDITION, "OUT_OF_ORDER"),
        ([opening("known"), sound(0, b"\0")], grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE"),
    ],
)
async def test_a_wrong_session_ends_with_a_named_fault(
    echo_front: EchoFront, requests: list[frames_pb2.SessionRequest], code: grpc.StatusCode, fault: str
) -> None:
    video_id = await echo_front.register()
    for request in requests:
        if request.open.video_id == "known":
            request.open.video_id = video_id
    async with stub_of(echo_front) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            _ = [answer async for answer in stub.Session(iter(requests), timeout=TIMEOUT_S)]

    assert fault_of(refused.value) == (code, fault)


async def test_a_call_without_a_key_is_refused(guarded_front: EchoFront) -> None:
    async with stub_of(guarded_front) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetVideo(frames_pb2.GetVideoRequest(video_id="vid_1"), timeout=TIMEOUT_S)

    assert fault_of(refused.value) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_the_health_follows_the_service(echo_front: EchoFront) -> None:
    status = health_pb2.HealthCheckResponse
    async with grpc.aio.insecure_channel(echo_front.grpc) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
        async with asyncio.timeout(TIMEOUT_S):
            first = await watched.read()
            echo_front.service.is_alive = False
            second = await watched.read()

    assert [first.status, second.status] == [status.SERVING, status.NOT_SERVING]


async def test_reflection_names_the_service(echo_front: EchoFront) -> None:
    async with grpc.aio.insecure_channel(echo_front.grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answers = [answer async for answer in stub.ServerReflectionInfo(asked, timeout=TIMEOUT_S)]

    assert SERVICE_NAME in {each.name for each in answers[0].list_services_response.service}


async def test_a_client_of_a_session_that_reads_nothing_is_ended(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, read_timeout_s=1) as front, stub_of(front) as stub:
        front.service.image_bytes = 1_000_000
        video_id = await front.register()
        call = stub.Session(timeout=TIMEOUT_S)
        await call.write(opening(video_id))
        await call.write(sound(0, bytes(FRAME_BYTES * 100)))
        async with asyncio.timeout(TIMEOUT_S):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_late(call, front)

    assert fault_of(ended.value) == (grpc.StatusCode.DEADLINE_EXCEEDED, "CLIENT_DOES_NOT_READ")


async def until_closed(front: EchoFront) -> None:
    async def is_closed() -> bool:
        return bool(front.service.sessions) and front.service.sessions[0].is_closed

    await until(is_closed)


async def read_late(call: grpc.aio.StreamStreamCall, front: EchoFront) -> None:
    """Reads only after the server has lost its patience."""
    await until_closed(front)
    while await call.read() is not grpc.aio.EOF:
        pass
