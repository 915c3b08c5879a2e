"""`phoenix generate`: prompts in, a file out, with a server of its own or with one that runs."""

import signal
from pathlib import Path

import psutil

from fixtures.up_process import PhoenixProcess, PhoenixStarter, UpProcess, UpStarter, survivors
from phoenix.contract import JobState

SHORT = ("--duration", "1", "--steps", "2", "--fps", "8")
# Thirty steps at a second each: long enough to be interrupted.
SLOW = {"PHOENIX_ANIMATIC__SECONDS_PER_STEP": "1"}


def is_mp4(path: Path) -> bool:
    return path.read_bytes()[4:8] == b"ftyp"


def test_alone_it_makes_the_file_and_leaves_nothing_else(start_phoenix: PhoenixStarter, tmp_path: Path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    run = start_phoenix("generate", "a red balloon", "the sea", *SHORT, "-o", "reel.mp4", TMPDIR=str(temporary))
    assert run.wait() == 0, run.log
    assert run.output().splitlines()[-1] == "reel.mp4"
    assert is_mp4(tmp_path / "reel.mp4")
    assert list(temporary.iterdir()) == []


def test_it_uses_the_server_that_runs_on_its_data_folder(
    lasting_up: UpProcess, start_phoenix: PhoenixStarter, tmp_path: Path, wav_file: Path
):
    run = start_phoenix(
        "generate", "a red balloon", *SHORT, "--audio", str(wav_file), PHOENIX_DATA_DIR=str(lasting_up.data_dir)
    )
    assert run.wait() == 0, run.log
    with lasting_up.client() as phoenix:
        [job] = phoenix.list_jobs().data
    assert run.output().splitlines() == [f"reel-{job.id}.mp4"]
    assert is_mp4(tmp_path / f"reel-{job.id}.mp4")
    assert "clip 1: done" in run.log


def test_a_refusal_is_shown_with_its_pointer(lasting_up: UpProcess, start_phoenix: PhoenixStarter):
    run = start_phoenix("generate", "x", "--model", "no-such-model", PHOENIX_URL=lasting_up.url)
    assert run.wait() == 1
    assert "INVALID_REQUEST" in run.log
    assert "/model: " in run.log


def test_ctrl_c_cancels_the_job_when_nobody_can_be_asked(start_up: UpStarter, start_phoenix: PhoenixStarter):
    up = start_up(**SLOW)
    run = start_phoenix("generate", "a red balloon", PHOENIX_URL=up.url)
    run.wait_for_log("clip 1: started")
    run.send(signal.SIGINT)
    assert run.wait() == 130
    with up.client() as phoenix:
        [job] = phoenix.list_jobs().data
        list(phoenix.watch(job.id))
        assert phoenix.get_job(job.id).state is JobState.CANCELED


def test_ctrl_c_ends_its_private_server_too(start_phoenix: PhoenixStarter):
    run = start_phoenix("generate", "a red balloon", **SLOW)
    started = _while_rendering(run)
    run.send(signal.SIGINT)
    assert run.wait() == 130
    assert survivors(started) == []


def test_killed_it_takes_its_private_server_with_it(start_phoenix: PhoenixStarter):
    run = start_phoenix("generate", "a red balloon", **SLOW)
    started = _while_rendering(run)
    run.send(signal.SIGKILL)
    assert survivors(started) == []


def _while_rendering(run: PhoenixProcess) -> list[psutil.Process]:
    run.wait_for_log("clip 1: started")
    return run.descendants()
