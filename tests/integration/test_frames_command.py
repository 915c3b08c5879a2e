"""`phoenix frames` as a process: it renders with the drawn mouth, and SIGTERM costs no frame."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fixtures.up_process import PhoenixProcess
from phoenix.frames.front.client_messages import SUBPROTOCOL, read_frame, write_sound

RATE_HZ, FPS = 16_000, 25
SECONDS = 2
READY = "frames are served"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[PhoenixProcess]:
    given = {"PHOENIX_DATA_DIR": str(tmp_path / "data"), "PHOENIX_FRAMES__DRAIN_GRACE_S": "0"}
    given |= {"PHOENIX_LOG__JSON_LINES": "true"}
    arguments = ("frames", "--port", "0", "--grpc-port", "0", "--processes", "1")
    with closing(PhoenixProcess(tmp_path, *arguments, **given)) as started:
        started.wait_for_log(READY)
        yield started


def ready_line(process: PhoenixProcess) -> dict[str, Any]:
    (line,) = [line for line in process.log.splitlines() if READY in line]
    return json.loads(line)


def test_a_sigterm_lets_a_session_have_the_frames_of_all_it_has_sent(process: PhoenixProcess, png_file: Path) -> None:
    port = ready_line(process)["port"]
    videos = f"http://127.0.0.1:{port}/v1/frames/videos?box=8,8,32,32"
    video_id = httpx.post(videos, content=png_file.read_bytes(), timeout=100).json()["video_id"]
    messages: list[str | bytes] = []
    subprotocols: Any = [SUBPROTOCOL]
    with connect(f"ws://127.0.0.1:{port}/v1/frames/session", subprotocols=subprotocols, open_timeout=100) as socket:
        socket.send(json.dumps({"type": "open", "video_id": video_id, "max_buffered_s": 5}))
        socket.recv(timeout=100)
        socket.send(write_sound(0, bytes(range(256)) * (RATE_HZ * SECONDS * 2 // 256)))
        messages.append(socket.recv(timeout=100))
        process.send(signal.SIGTERM)
        with suppress(ConnectionClosed):
            for message in socket:
                messages.append(message)  # noqa: PERF402 - what came before the end stays

    frames = [read_frame(message) for message in messages if isinstance(message, bytes)]
    news = [json.loads(message)["type"] for message in messages if isinstance(message, str)]
    assert [sequence for sequence, _ in frames] == list(range(SECONDS * FPS))
    assert all(frame.image.startswith(b"\xff\xd8") for _, frame in frames)
    assert news == ["draining", "ended"]
    assert process.wait() == 0
