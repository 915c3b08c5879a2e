"""ffmpeg runs: it is followed, stopped, limited and explained, and never outlives the one who started it."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import child_processes
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.errors import MediaStopped
from phoenix.media.ffmpeg import FfmpegCallbacks, FfmpegMissing, MediaTools, Progress, find_ffmpeg, run_ffmpeg

ENDLESS = ["-nostdin", "-v", "error", "-progress", "pipe:1", "-re", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=30"]
ENDLESS += ["-stats_period", "0.05", "-f", "null", "-"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stop_ends_a_command(media_tools: MediaTools) -> None:
    started = time.monotonic()
    callbacks = FfmpegCallbacks(should_stop=lambda: time.monotonic() - started > 0.3)

    with pytest.raises(MediaStopped):
        run_ffmpeg(ENDLESS, tools=media_tools, stage=Stage.ASSEMBLE, callbacks=callbacks)

    assert time.monotonic() - started < 30


def test_an_error_in_a_progress_callback_ends_the_command(media_tools: MediaTools) -> None:
    def give_up(_: Progress) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        run_ffmpeg(ENDLESS, tools=media_tools, stage=Stage.ASSEMBLE, callbacks=FfmpegCallbacks(on_progress=give_up))


def test_a_command_over_its_time_limit_is_ended_and_may_be_tried_again(media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match=r"longer than 0.3 s") as caught:
        run_ffmpeg(ENDLESS, tools=replace(media_tools, timeout_s=0.3), stage=Stage.ASSEMBLE)

    assert caught.value.code == FailureCode.ENGINE_FAILED
    assert caught.value.retriable


def test_a_command_that_fails_says_why_without_naming_our_folders(media_tools: MediaTools, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.mp4"

    with pytest.raises(TaskFailed, match=r"nothing\.mp4") as caught:
        run_ffmpeg(["-i", f"file:{missing}", "-f", "null", "-"], tools=media_tools, stage=Stage.ASSEMBLE)

    assert str(tmp_path) not in caught.value.detail
    assert caught.value.stage == Stage.ASSEMBLE


def test_input_that_is_no_media_is_the_inputs_fault(media_tools: MediaTools, tmp_path: Path) -> None:
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(b"\0\0\0\x18ftypmp42" + os.urandom(5000))

    with pytest.raises(TaskFailed) as caught:
        run_ffmpeg(["-i", f"file:{noise}", "-f", "null", "-"], tools=media_tools, stage=Stage.ASSEMBLE)

    assert caught.value.code == FailureCode.MEDIA_INVALID
    assert not caught.value.retriable


def test_a_killed_encoder_may_be_tried_again(media_tools: MediaTools) -> None:
    killer = ["-c", "kill -9 $$"]

    with pytest.raises(TaskFailed, match="SIGKILL") as caught:
        run_ffmpeg(killer, tools=replace(media_tools, ffmpeg="/bin/sh"), stage=Stage.ENCODE)

    assert caught.value.retriable


def test_a_full_disk_is_a_failure_of_storage(media_tools: MediaTools) -> None:
    command = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=d=1", "-f", "rawvideo", "-y", "/dev/full"]

    with pytest.raises(TaskFailed) as caught:
        run_ffmpeg(command, tools=media_tools, stage=Stage.ENCODE)

    assert caught.value.code == FailureCode.STORAGE_FULL
    assert caught.value.retriable


def test_a_file_over_its_limit_is_no_failure_of_the_engine(media_tools: MediaTools, tmp_path: Path) -> None:
    command = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=d=1", "-f", "rawvideo", "-y", str(tmp_path / "big.rgb")]

    with pytest.raises(TaskFailed, match="PHOENIX_MEDIA__MAX_FILE_BYTES") as caught:
        run_ffmpeg(command, tools=replace(media_tools, max_file_bytes=10_000), stage=Stage.ENCODE)

    assert (caught.value.code, caught.value.retriable) == (FailureCode.MEDIA_LIMIT, False)
    assert (tmp_path / "big.rgb").stat().st_size <= 10_000


def test_memory_over_its_limit_is_no_failure_of_the_engine(media_tools: MediaTools) -> None:
    command = ["-v", "error", "-f", "lavfi", "-i", "nullsrc=s=7680x4320", "-vf", "format=gbrpf32le"]
    command += ["-frames:v", "1", "-f", "null", "-"]

    with pytest.raises(TaskFailed, match="PHOENIX_MEDIA__MAX_MEMORY_BYTES") as caught:
        run_ffmpeg(command, tools=replace(media_tools, max_memory_bytes=300_000_000), stage=Stage.ENCODE)

    assert caught.value.code == FailureCode.MEDIA_LIMIT


def test_a_command_runs_under_every_limit(media_tools: MediaTools) -> None:
    tools = replace(media_tools, ffmpeg="/bin/sh", timeout_s=60, max_memory_bytes=10**9, max_file_bytes=10**6)

    # The input is written once the limits are set.
    shown = run_ffmpeg(
        ["-c", "read line; cat /proc/self/limits >&2"], tools=tools, stage=Stage.ENCODE, stdin_chunks=[b"go\n"]
    ).stderr

    soft = {line[:26].strip(): line[26:].split()[0] for line in shown.splitlines()}
    assert soft["Max data size"] == "1000000000"
    assert soft["Max file size"] == "1000000"
    assert soft["Max core file size"] == "0"
    assert soft["Max open files"] == "256"
    assert int(soft["Max cpu time"]) >= 60


def test_much_error_output_does_not_stall_a_command_that_reads_its_input(media_tools: MediaTools) -> None:
    """A child that fills its error pipe before it reads its input would wait for ever for one that waits for it."""
    script = "i=0; while [ $i -lt 20000 ]; do echo 'a line of complaint that nobody reads' >&2; i=$((i+1)); done; cat"
    chatty = replace(media_tools, ffmpeg="/bin/sh", timeout_s=100)

    result = run_ffmpeg(
        ["-c", f"{script} >/dev/null"], tools=chatty, stage=Stage.ENCODE, stdin_chunks=[bytes(10**6)] * 3
    )

    assert result.stderr.endswith("nobody reads\n")
    assert len(result.stderr) <= 32_768


def test_a_missing_program_is_explained(media_tools: MediaTools) -> None:
    with pytest.raises(TaskFailed, match="could not be started"):
        run_ffmpeg([], tools=replace(media_tools, ffmpeg="/nonexistent/ffmpeg"), stage=Stage.ENCODE)


def test_ffmpeg_dies_with_a_worker_that_is_killed(media_tools: MediaTools, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = tmp_path / "wrapper.sh"
    script.write_text(
        f'#!/bin/sh\necho $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec {media_tools.ffmpeg} "$@"\n'
    )
    script.chmod(0o755)
    program = (
        "from phoenix.media.ffmpeg import run_ffmpeg; from phoenix.media.ffmpeg import MediaTools\n"
        "from phoenix.errors import Stage\n"
        f"run_ffmpeg({ENDLESS!r}, tools=MediaTools(ffmpeg={str(script)!r}), stage=Stage.ENCODE)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = child_processes.start([sys.executable, "-c", program], env=environment)
    try:
        wait_for(pid_file.exists)
        child = int(pid_file.read_text())
        assert is_alive(child)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    wait_for(lambda: not is_alive(child))


def wait_for(condition: Callable[[], bool], limit_s: float = 100) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)


def test_a_configured_ffmpeg_is_preferred(tmp_path: Path) -> None:
    own = tmp_path / "ffmpeg"
    shutil.copy("/bin/true", own)

    assert find_ffmpeg(str(own)) == str(own)


def test_a_configured_ffmpeg_that_is_not_there_is_not_replaced_in_silence() -> None:
    with pytest.raises(FfmpegMissing, match="PHOENIX_MEDIA__FFMPEG"):
        find_ffmpeg("/nonexistent/ffmpeg")


def test_the_time_for_which_frames_are_waited_for_does_not_count(media_tools: MediaTools) -> None:
    limit_s = 10.0

    def slow_frames() -> Iterator[bytes]:
        for _ in range(2):
            time.sleep(limit_s * 0.55)
            yield bytes(64 * 64 * 3)

    command = ["-nostdin", "-v", "error", "-progress", "pipe:1", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", "64x64", "-i", "-", "-f", "null", "-"]
    tools = replace(media_tools, timeout_s=limit_s)
    assert run_ffmpeg(command, tools=tools, stage=Stage.ENCODE, stdin_chunks=slow_frames()).progress.frames == 2
