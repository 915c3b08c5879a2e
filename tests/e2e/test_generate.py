"""`phoenix generate`: prompts in, a file out, with a server of its own or with one that runs."""

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from fixtures.up_process import PhoenixProcess, PhoenixStarter, UpProcess, survivors
from phoenix.contract import Job, JobState, ResolvedReel

SHORT = ("--duration", "1", "--steps", "2", "--fps", "8")
# Thirty steps at a second each: long enough to be interrupted.
SLOW = {"PHOENIX_ANIMATIC__SECONDS_PER_STEP": "1"}


@pytest.fixture(scope="module")
def slow_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with closing(UpProcess(tmp_path_factory.mktemp("up"), **SLOW)) as up:
        up.wait_until_ready()
        yield up


def newest_job(up: UpProcess) -> Job:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0]


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
    slow_up: UpProcess, start_phoenix: PhoenixStarter, tmp_path: Path, wav_file: Path
):
    options = ("--title", "Balloon", "--tag", "sea", "--tag", "red", "--on-failed-check", "reroll")
    run = start_phoenix(
        *("generate", "a red balloon", *SHORT, *options, "--audio", str(wav_file)),
        PHOENIX_DATA_DIR=str(slow_up.data_dir),
    )
    assert run.wait() == 0, run.log
    job = newest_job(slow_up)
    assert isinstance(job.request, ResolvedReel)
    assert (job.title, job.tags, job.request.on_failed_check) == ("Balloon", ["sea", "red"], "reroll")
    assert run.output().splitlines() == [f"reel-{job.id}.mp4"]
    assert is_mp4(tmp_path / f"reel-{job.id}.mp4")
    assert "clip 1: done" in run.log


def test_a_clip_begins_with_the_end_of_the_clip_before_it_or_of_another_job(
    slow_up: UpProcess, start_phoenix: PhoenixStarter, png_file: Path
):
    frames = ("--first-frame", f"1:{png_file}", "--first-frame", "previous")
    run = start_phoenix("generate", "a red balloon", "the sea", *SHORT, *frames, PHOENIX_URL=slow_up.url)
    assert run.wait() == 0, run.log
    with slow_up.client() as phoenix:
        first = phoenix.list_jobs().data[0]
        run = start_phoenix("generate", "the night", *SHORT, "--extends", f"{first.id}:2", PHOENIX_URL=slow_up.url)
        assert run.wait() == 0, run.log
        second = phoenix.list_jobs().data[0]
    sources = [clip.conditions[0].source for job in (first, second) for clip in job.request.clips]
    assert sources[0].artifact_id
    assert sources[1].previous_clip
    assert (sources[2].job_id, sources[2].clip_index) == (first.id, 1)
    assert second.output.duration_s == 2


def test_a_refusal_is_shown_with_its_pointer(slow_up: UpProcess, start_phoenix: PhoenixStarter):
    run = start_phoenix("generate", "x", "--model", "no-such-model", PHOENIX_URL=slow_up.url)
    assert run.wait() == 1
    assert "INVALID_REQUEST" in run.log
    assert "/model: " in run.log


def test_all_faults_of_a_reel_for_another_server_are_shown_at_once(slow_up: UpProcess, start_phoenix: PhoenixStarter):
    run = start_phoenix("generate", " ", "--fps", "999", "--duration", "400", "--url", slow_up.url)
    assert run.wait() == 1
    assert [pointer in run.log for pointer in ("/clips/0/prompt: ", "/fps: ", "/duration_s: ")] == [True] * 3


def test_ctrl_c_cancels_the_job_when_nobody_can_be_asked(slow_up: UpProcess, start_phoenix: PhoenixStarter):
    run = start_phoenix("generate", "a red balloon", PHOENIX_URL=slow_up.url)
    run.wait_for_log("clip 1: started")
    run.send(signal.SIGINT)
    assert run.wait() == 130
    job = newest_job(slow_up)
    with slow_up.client() as phoenix:
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
