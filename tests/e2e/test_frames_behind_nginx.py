"""Sessions over WebSocket and gRPC through the deployed nginx configuration."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.asyncio.client import connect

from fixtures.echo_frames import FPS, EchoFront, open_echo_front
from fixtures.nginx import Nginx, run_nginx
from phoenix.frames.front.client_messages import SUBPROTOCOL, read_frame, write_sound
from phoenix.frames.v1 import frames_pb2, frames_pb2_grpc
from phoenix.settings import Settings

pytestmark = pytest.mark.e2e

FRAME_BYTES = 16_000 // FPS * 2
TIMEOUT_S = 100


@asynccontextmanager
async def behind_nginx(folder: Path, front: EchoFront) -> AsyncIterator[Nginx]:
    address = front.url.removeprefix("http://")
    running = run_nginx(folder, [front.url], frames=address, frames_grpc=front.grpc)
    nginx = await asyncio.to_thread(running.__enter__)
    try:
        yield nginx
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def test_a_session_over_websocket_passes_both_ways(api_settings: Settings, tmp_path: Path) -> None:
    async with open_echo_front(api_settings) as front, behind_nginx(tmp_path, front) as nginx:
        async with httpx.AsyncClient(base_url=nginx.url, timeout=TIMEOUT_S) as http:
            video_id = (await http.post("/v1/frames/videos", content=b"a face")).json()["video_id"]
        url = nginx.url.replace("http", "ws") + "/v1/frames/session"
        subprotocols: Any = [SUBPROTOCOL]
        async with (
            asyncio.timeout(TIMEOUT_S),
            connect(url, subprotocols=subprotocols, open_timeout=TIMEOUT_S) as socket,
        ):
            await socket.send(json.dumps({"type": "open", "video_id": video_id}))
            opened = json.loads(await socket.recv())
            # One after the other: each frame leaves before the sound of the next one comes.
            frames = []
            for sequence in range(3):
                await socket.send(write_sound(sequence, bytes([sequence]) * FRAME_BYTES))
                frames.append(read_frame(await socket.recv(decode=False)))
            await socket.send('{"type": "end"}')
            ended = json.loads(await socket.recv())

    assert (opened["type"], ended["frames"]) == ("opened", 3)
    assert [(sequence, frame.audio[0]) for sequence, frame in frames] == [(0, 0), (1, 1), (2, 2)]


async def test_a_session_over_grpc_passes_both_ways(api_settings: Settings, tmp_path: Path) -> None:
    async with open_echo_front(api_settings) as front, behind_nginx(tmp_path, front) as nginx:
        video_id = await front.register()
        async with grpc.aio.insecure_channel(nginx.grpc) as channel:
            call = frames_pb2_grpc.FramesStub(channel).Session(timeout=TIMEOUT_S)
            await call.write(
                frames_pb2.SessionRequest(open=frames_pb2.OpenSession(video_id=video_id, sample_rate=16_000))
            )
            kinds = [(await call.read()).WhichOneof("message")]
            for sequence in range(3):
                sound = frames_pb2.Sound(sequence=sequence, pcm=bytes(FRAME_BYTES))
                await call.write(frames_pb2.SessionRequest(sound=sound))
                kinds.append((await call.read()).WhichOneof("message"))
            await call.done_writing()
            kinds.append((await call.read()).WhichOneof("message"))

    assert kinds == ["opened", "frame", "frame", "frame", "ended"]


async def test_the_health_of_grpc_passes(api_settings: Settings, tmp_path: Path) -> None:
    async with (
        open_echo_front(api_settings) as front,
        behind_nginx(tmp_path, front) as nginx,
        grpc.aio.insecure_channel(nginx.grpc) as channel,
    ):
        asked = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=TIMEOUT_S)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_nothing_behind_nginx_is_a_named_status(tmp_path: Path) -> None:
    with run_nginx(tmp_path, ["http://127.0.0.1:9"]) as nginx:
        channel = grpc.aio.insecure_channel(nginx.grpc)
        async with channel:
            stub = frames_pb2_grpc.FramesStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetVideo(frames_pb2.GetVideoRequest(video_id="vid_1"), timeout=TIMEOUT_S)
        answer = await asyncio.to_thread(httpx.get, f"{nginx.url}/v1/frames/videos/vid_1", timeout=TIMEOUT_S)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
