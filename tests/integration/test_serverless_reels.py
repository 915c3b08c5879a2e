"""Serverless jobs on a container's own server: what they answer, and what they leave behind."""

import asyncio
import base64
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import child_processes
from fixtures.media_files import decode
from phoenix.cli.embedded.private import OwnServer
from phoenix.cli.serverless.answers import Progress
from phoenix.cli.serverless.reel import ReelHandler
from phoenix.cli.serverless.runpod import container_server
from phoenix.client import AsyncPhoenix
from phoenix.contract import JobState
from phoenix.settings import load_settings

REEL = {"clips": [{"prompt": "a red balloon"}], "duration_s": 1, "fps": 8, "steps": 1}
LONG_REEL = {**REEL, "steps": 1000}


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PHOENIX_ANIMATIC__SECONDS_PER_STEP", "0.05")
        patched.setenv("PHOENIX_LOG__LEVEL", "ERROR")
        with container_server(load_settings(), "container-1") as found:
            yield found


@pytest.fixture
def ended_server() -> Iterator[OwnServer]:
    """Its process is gone, and its address takes connections that nobody will answer."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        child_processes.start([sys.executable, "-V"], text=True) as process,
    ):
        process.wait()
        yield OwnServer(f"http://127.0.0.1:{silent.getsockname()[1]}", process)


async def say_nothing(_: Progress) -> None:
    pass


async def answer(reels: ReelHandler, body: Any) -> dict[str, Any]:
    return await reels.answer(body, "runpod-1", say_nothing)


def error_of(answered: dict[str, Any]) -> dict[str, Any]:
    return json.loads(answered["error"])


async def test_a_reel_is_answered_with_its_video(server: OwnServer, tmp_path: Path) -> None:
    video = (await answer(ReelHandler(server), REEL))["video"]
    path = tmp_path / "reel.mp4"
    path.write_bytes(base64.b64decode(video["base64"]))
    decoded = decode(path)

    assert path.stat().st_size == video["size_bytes"]
    assert (decoded.width, decoded.height, decoded.duration_s) == (video["width"], video["height"], 1.0)


async def test_progress_is_reported_while_the_reel_is_made(server: OwnServer) -> None:
    reports: list[Progress] = []

    async def report(progress: Progress) -> None:
        reports.append(progress)

    answered = await ReelHandler(server).answer(REEL, "runpod-1", report)

    assert {progress["job_id"] for progress in reports} == {answered["job_id"]}


async def test_what_was_answered_in_full_is_not_kept(server: OwnServer) -> None:
    job_id = (await answer(ReelHandler(server), REEL))["job_id"]

    async with AsyncPhoenix(server.url) as phoenix:
        assert job_id not in [job.id for job in (await phoenix.list_jobs()).data]


async def test_an_error_is_reported_with_its_place_in_the_input(server: OwnServer) -> None:
    error = error_of(await answer(ReelHandler(server), {**REEL, "clips": [{"prompt": ""}]}))

    assert error["error_type"] == "INVALID_REQUEST"
    assert [fault["pointer"] for fault in error["faults"]] == ["/clips/0/prompt"]
    assert error["request_id"] == "runpod-1"


async def test_a_video_that_is_too_large_for_an_answer_is_not_sent(server: OwnServer) -> None:
    error = error_of(await answer(ReelHandler(server, max_inline_bytes=1000), REEL))

    assert error["error_type"] == "OUTPUT_TOO_LARGE"
    assert "PHOENIX_STORAGE__URL" in error["error_message"]


async def test_a_reel_that_fails_says_why(server: OwnServer) -> None:
    error = error_of(await answer(ReelHandler(server), {**LONG_REEL, "run_timeout_s": 0.2}))

    assert error["error_type"] == "RUN_TIMEOUT"


async def test_a_reel_of_a_model_that_no_worker_here_can_load_does_not_wait_for_one(server: OwnServer) -> None:
    # Devices that are CPUs do not serve it.
    error = error_of(await answer(ReelHandler(server), {"model": "wan-2.1-t2v-14b", "clips": REEL["clips"]}))

    assert error["error_type"] == "MODEL_UNAVAILABLE"
    assert "wan-2.1-t2v-14b" in error["error_message"]


async def test_a_job_that_is_stopped_cancels_its_reel(server: OwnServer) -> None:
    runs = asyncio.Event()
    ids: list[str] = []

    async def report(progress: Progress) -> None:
        ids.append(progress["job_id"])
        runs.set()

    answering = asyncio.create_task(ReelHandler(server).answer(LONG_REEL, "runpod-1", report))
    await runs.wait()
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)

    assert answering.cancelled()
    async with AsyncPhoenix(server.url) as phoenix:
        async for _ in phoenix.watch(ids[0]):
            pass
        assert (await phoenix.get_job(ids[0])).state is JobState.CANCELED


async def test_when_the_server_has_ended_another_container_is_asked_for(ended_server: OwnServer) -> None:
    answered = await answer(ReelHandler(ended_server), REEL)

    assert answered["refresh_worker"] is True
    assert error_of(answered)["error_type"] == "UNAVAILABLE"
