"""Engine processes of the frames service: same frames as in a thread, replaced when they die or hang, models alike."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from fixtures.frames import BOX, RATE_HZ, open_raw, open_service, pcm_of, read_all, write_face
from fixtures.tiny_lips import noise, script_wav2lip, write_wav2lip
from phoenix.errors import FailureCode, TaskFailed
from phoenix.frames.interface import EngineHealth
from phoenix.frames.service import FrameService, FrameSession, ImageFormat

# TorchScript still is what lip models of others come as.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

SPEECH = pcm_of(noise(2))
PATIENT_S = 300
"""A signal that is waited for; the machine may stand still."""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both kinds of files, and one that does not fit."""
    folder = tmp_path_factory.mktemp("lips")
    onnx, script = write_wav2lip(folder / "lips.onnx"), script_wav2lip(folder / "lips.pt")
    entries = {"onnx": (onnx, "onnx", 96), "script": (script, "torchscript", 96), "wrong": (onnx, "onnx", 128)}
    lines = [
        f'[[lip_models]]\nid = "{name}"\ntitle = "{name}"\nformat = "{kind}"\n'
        f'source = "{path}"\ncrop_px = {side}\nbatch = 4'
        for name, (path, kind, side) in entries.items()
    ]
    file = folder / "catalog.toml"
    file.write_text("\n".join(lines))
    return file


async def say(service: FrameService, model: str, face: Path, *, pcm: bytes = SPEECH) -> list[bytes]:
    video = await service.register_video(face, box=BOX, model=model)
    session = open_raw(service, video.video_id)
    await session.push_audio(pcm)
    await session.end_audio()
    return [frame.image for frame in await read_all(session)]


async def wait_for_engines(service: FrameService, count: int) -> list[EngineHealth]:
    def find_alive() -> list[EngineHealth]:
        return [engine for engine in service.health().engines if engine.is_alive]

    async with asyncio.timeout(PATIENT_S):
        while len(find_alive()) < count:  # noqa: ASYNC110 - a process that starts sends the test no signal
            await asyncio.sleep(0.05)
    return find_alive()


async def test_processes_make_the_frames_that_a_thread_makes(catalog: Path, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    async with open_service(catalog) as alone, open_service(catalog, processes=2) as service:
        for model in ("drawn-mouth", "onnx", "script"):
            assert await say(service, model, face) == await say(alone, model, face)
        assert sum(engine.frames for engine in service.health().engines) == 150
        pids = [engine.pid for engine in service.health().engines]
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_a_model_that_does_not_fit_its_file_is_refused_and_the_service_goes_on(catalog: Path, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    async with open_service(catalog, processes=1) as service:
        with pytest.raises(TaskFailed, match="wrong cannot be used: it does not take") as refused:
            await service.register_video(face, box=BOX, model="wrong")
        assert refused.value.code is FailureCode.MODEL_UNAVAILABLE
        assert len(await say(service, "onnx", face, pcm=SPEECH[:8000])) == 7
        assert service.health().models == ("drawn-mouth", "onnx")


async def count_images(session: FrameSession) -> int:
    return len([frame async for frame in session.frames()])


async def test_sessions_outlive_processes_that_are_killed_hang_or_get_sigterm(catalog: Path, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    async with open_service(catalog, processes=2, batch_timeout_s=10) as service:
        video = await service.register_video(face, box=BOX, model="onnx")
        sessions = [open_raw(service, video.video_id, max_buffered_s=1) for _ in range(4)]
        reading = [asyncio.create_task(count_images(session)) for session in sessions]

        async def push(times: int) -> None:
            await asyncio.gather(*(session.push_audio(SPEECH * times) for session in sessions))

        await push(1)
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            alive = await wait_for_engines(service, 2)
            os.kill(alive[0].pid or 0, number)
            await push(2)
        for session in sessions:
            await session.end_audio()
        assert await asyncio.gather(*reading) == [350] * 4
        assert sum(engine.restarts for engine in service.health().engines) >= 1


async def test_a_lost_process_comes_back_with_the_models_of_the_others(catalog: Path, tmp_path: Path):
    face = write_face(tmp_path / "face.png")
    async with open_service(catalog, processes=1) as service:
        video = await service.register_video(face, box=BOX, model="onnx")
        [engine] = service.health().engines
        before = await service.render_frame(video.video_id, 0, SPEECH, sample_rate=RATE_HZ, format=ImageFormat.RAW)
        os.kill(engine.pid or 0, signal.SIGKILL)
        after = await service.render_frame(video.video_id, 0, SPEECH, sample_rate=RATE_HZ, format=ImageFormat.RAW)
        assert after == before
        [replaced] = service.health().engines
        assert (replaced.restarts, replaced.pid != engine.pid) == (1, True)
        assert np.frombuffer(after.image, np.uint8).std() > 0
