"""What the front of `phoenix frames` costs: CPU for each frame of 30 kB, and the time that it adds to a frame.

python benchmarks/frames/front.py [--frames 5000] [--json FILE]

The service behind the front renders nothing: it hands out one image. A bare server of each protocol sends the same
bytes in the same run, with the same client. The CPU time is of the server's process alone.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import grpc
import psutil
import uvicorn
from websockets.asyncio.client import connect

from fixtures import child_processes
from phoenix.frames.front.client_messages import SUBPROTOCOL, write_sound
from phoenix.frames.front.serve import FrontAddress, serve_front
from phoenix.frames.front.state import open_front
from phoenix.frames.interface import EngineHealth, FrameOut, ServiceHealth, VideoInfo
from phoenix.frames.v1 import frames_pb2, frames_pb2_grpc
from phoenix.services import open_services
from phoenix.settings import FramesSettings, load_settings

IMAGE = os.urandom(30_000)
RATE_HZ, FPS = 16_000, 25
FRAME_BYTES = RATE_HZ // FPS * 2
VIDEO = VideoInfo("vid_1", 640, 360, FPS, 250, 250, "none")


class ReadySession:
    """Hands out a frame for each 40 ms of sound, at once."""

    def __init__(self) -> None:
        self._sound = 0
        self._next = 0
        self._is_ended = False
        self._changed = asyncio.Event()

    async def push_audio(self, pcm: bytes) -> None:
        self._sound += len(pcm)
        self._changed.set()

    async def end_audio(self) -> None:
        self._is_ended = True
        self._changed.set()

    async def frames(self) -> AsyncIterator[FrameOut]:
        audio = bytes(FRAME_BYTES)
        while True:
            while self._sound >= FRAME_BYTES:
                self._sound -= FRAME_BYTES
                yield FrameOut(self._next, self._next / FPS, IMAGE, audio)
                self._next += 1
            if self._is_ended:
                return
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        pass


class ReadyService:
    """In place of `FrameService`."""

    async def register_video(self, *_: object, **__: object) -> VideoInfo:
        return VIDEO

    def get_video(self, _video_id: str) -> VideoInfo:
        return VIDEO

    def open_session(self, *_: object, **__: object) -> ReadySession:
        return ReadySession()

    def health(self) -> ServiceHealth:
        return ServiceHealth((EngineHealth("cpu", None, True, 0, 0),), (), 1, 0, 0, 0, False)

    async def drain(self) -> None:
        pass


async def serve_ready(folder: str) -> None:
    frames = FramesSettings(port=0, grpc_port=0, drain_grace_s=0)
    settings = load_settings(data_dir=Path(folder), frames=frames, redis={"url": "redis://127.0.0.1:9/0"})
    async with open_services(settings) as services, open_front(services, cast("Any", ReadyService())) as state:
        await serve_front(state, asyncio.Event(), on_ready=say)


def say(address: FrontAddress) -> None:
    print(json.dumps([address.port, address.grpc_port]), flush=True)


async def serve_bare() -> None:
    """A WebSocket and a gRPC server that answer each message with as many frames as it has sound for."""

    async def application(_scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        data = bytes(32 + FRAME_BYTES) + IMAGE
        while (message := await receive())["type"] == "websocket.receive":
            for _ in range(len(message["bytes"]) // FRAME_BYTES):
                await send({"type": "websocket.send", "bytes": data})

    class Bare(frames_pb2_grpc.FramesServicer):
        async def Session(self, requests: Any, _context: Any) -> Any:  # noqa: N802 - the name is gRPC's
            audio = bytes(FRAME_BYTES)
            async for request in requests:
                for _ in range(len(request.sound.pcm) // FRAME_BYTES):
                    yield frames_pb2.SessionResponse(frame=frames_pb2.Frame(audio=audio, image=IMAGE))

    calls = grpc.aio.server()
    frames_pb2_grpc.add_FramesServicer_to_server(Bare(), calls)
    grpc_port = calls.add_insecure_port("127.0.0.1:0")
    await calls.start()
    options: Any = {"ws": "websockets-sansio", "ws_per_message_deflate": False, "lifespan": "off", "log_config": None}
    server = uvicorn.Server(uvicorn.Config(application, port=0, **options))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(json.dumps([listening.getsockname()[1], grpc_port]), flush=True)
        await server.serve(sockets=[listening])


class WebSocketClient:
    def __init__(self, port: int, video_id: str | None) -> None:
        self._url, self._video_id = f"ws://127.0.0.1:{port}/v1/frames/session", video_id
        self._sequence = 0

    async def __aenter__(self) -> "WebSocketClient":
        subprotocols: Any = [SUBPROTOCOL]
        self._socket = await connect(self._url, subprotocols=subprotocols, compression=None, max_size=None)
        if self._video_id:
            await self._socket.send(json.dumps({"type": "open", "video_id": self._video_id, "max_buffered_s": 10}))
            await self._socket.recv()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._socket.close()

    async def say(self, frames: int) -> None:
        sound = bytes(FRAME_BYTES * frames)
        await self._socket.send(write_sound(self._sequence, sound))
        self._sequence += 1

    async def get(self) -> None:
        await self._socket.recv(decode=False)


class GrpcClient:
    def __init__(self, port: int, video_id: str | None) -> None:
        self._address, self._video_id = f"127.0.0.1:{port}", video_id
        self._sequence = 0

    async def __aenter__(self) -> "GrpcClient":
        self._channel = grpc.aio.insecure_channel(self._address)
        self._call = frames_pb2_grpc.FramesStub(self._channel).Session()
        if self._video_id:
            opening = frames_pb2.OpenSession(video_id=self._video_id, sample_rate=RATE_HZ, max_buffered_s=10)
            await self._call.write(frames_pb2.SessionRequest(open=opening))
            await self._call.read()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._call.cancel()
        await self._channel.close()

    async def say(self, frames: int) -> None:
        sound = frames_pb2.Sound(sequence=self._sequence, pcm=bytes(FRAME_BYTES * frames))
        await self._call.write(frames_pb2.SessionRequest(sound=sound))
        self._sequence += 1

    async def get(self) -> None:
        await self._call.read()


async def cpu_per_frame_us(client: Any, process: psutil.Process, frames: int, at_a_time: int) -> float:
    """Of the server, while frames of `at_a_time` follow each message of sound."""
    before = sum(process.cpu_times()[:2])
    for _ in range(frames // at_a_time):
        await client.say(at_a_time)
        for _ in range(at_a_time):
            await client.get()
    return (sum(process.cpu_times()[:2]) - before) / frames * 1e6


async def round_trips_ms(client: Any, count: int) -> list[float]:
    times: list[float] = []
    for _ in range(count):
        began_s = time.perf_counter()
        await client.say(1)
        await client.get()
        times.append((time.perf_counter() - began_s) * 1000)
    return times


def start(kind: str) -> tuple[subprocess.Popen[str], list[int]]:
    process = child_processes.start(
        [sys.executable, __file__, "--serve", kind], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return cast("subprocess.Popen[str]", process), json.loads(process.stdout.readline())


async def measure(frames: int) -> dict[str, float]:
    found: dict[str, float] = {}
    started = {kind: start(kind) for kind in ("front", "bare")}
    try:
        await register(started["front"][1][0])
        for place, (name, make) in enumerate({"websocket": WebSocketClient, "grpc": GrpcClient}.items()):
            for kind, (process, ports) in started.items():
                seen = psutil.Process(process.pid)
                async with make(ports[place], VIDEO.video_id if kind == "front" else None) as client:
                    await cpu_per_frame_us(client, seen, 200, 25)
                    for at_a_time in (25, 1):
                        cpu_us = await cpu_per_frame_us(client, seen, frames, at_a_time)
                        found[f"{name}, {kind}: CPU us a frame, {at_a_time} a message"] = cpu_us
                    times = await round_trips_ms(client, frames // 5)
                    found[f"{name}, {kind}: round trip p50, ms"] = statistics.median(times)
    finally:
        for process, _ in started.values():
            process.kill()
            process.wait()
    for name in ("websocket", "grpc"):
        p50 = "round trip p50, ms"
        found[f"{name}: the front adds p50, ms"] = found[f"{name}, front: {p50}"] - found[f"{name}, bare: {p50}"]
        for at_a_time in (25, 1):
            cpu = f"CPU us a frame, {at_a_time} a message"
            found[f"{name}: {cpu}, of bare"] = found[f"{name}, front: {cpu}"] / found[f"{name}, bare: {cpu}"]
    return found


async def register(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/frames/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    writer.write(head.encode())
    assert b"201" in (await reader.read()).splitlines()[0]
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", choices=["front", "bare"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve == "front":
        with tempfile.TemporaryDirectory() as folder:
            uvicorn_loop().run(serve_ready(folder))
    elif given.serve == "bare":
        uvicorn_loop().run(serve_bare())
    else:
        found = asyncio.run(measure(given.frames))
        for name, value in found.items():
            print(f"{name:55s} {value:10.3f}")
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))


def uvicorn_loop() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvicorn.Config("none", loop="auto").get_loop_factory())


if __name__ == "__main__":
    main()
