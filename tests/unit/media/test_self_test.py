"""The self-test: it accepts an ffmpeg that can make a reel, and says what another one cannot do."""

from pathlib import Path

import pytest

from phoenix.errors import FailureCode, TaskFailed
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.self_test import FfmpegUnusable, run_self_test, run_shared_self_test


def broken_ffmpeg(folder: Path, media_tools: MediaTools, pattern: str) -> MediaTools:
    """An ffmpeg that fails if an argument contains `pattern`."""
    program = folder / "ffmpeg"
    fails = f'case "$*" in *{pattern}*) echo "No such filter" >&2; exit 1; esac'
    program.write_text(f"#!/bin/sh\n{fails}\nexec '{media_tools.ffmpeg}' \"$@\"\n")
    program.chmod(0o755)
    return MediaTools(str(program))


def test_the_ffmpeg_of_the_tests_can_make_a_reel(media_tools: MediaTools) -> None:
    run_self_test(media_tools)


@pytest.mark.parametrize(
    ("pattern", "step"),
    [
        ("rawvideo", "encode a clip"),
        ("f32le", "encode a clip with sound"),
        ("fps=8", "join clips of different sizes and frame rates"),
        ("concat", "join clips of different sizes and frame rates"),
        ("xfade", "crossfade clips"),
        ("zscale", "show HDR on an ordinary screen"),
        ("loudnorm", "add a soundtrack"),
        ("amix", "add a soundtrack"),
    ],
)
def test_an_ffmpeg_that_fails_is_refused_with_what_it_cannot_do(
    tmp_path: Path, media_tools: MediaTools, pattern: str, step: str
) -> None:
    with pytest.raises(FfmpegUnusable, match=f"ffmpeg cannot {step}: .*No such filter"):
        run_self_test(broken_ffmpeg(tmp_path, media_tools, pattern))


def test_a_program_that_writes_nothing_is_refused() -> None:
    with pytest.raises(FfmpegUnusable, match="/bin/true cannot encode a clip: 0 frames were written, not 4"):
        run_self_test(MediaTools("/bin/true"))


def test_an_ffmpeg_that_is_killed_once_is_accepted(tmp_path: Path, media_tools: MediaTools) -> None:
    program = tmp_path / "ffmpeg"
    kill_once = f"if mkdir {tmp_path}/once 2>/dev/null; then kill -KILL $$; fi"
    program.write_text(f"#!/bin/sh\n{kill_once}\nexec '{media_tools.ffmpeg}' \"$@\"\n")
    program.chmod(0o755)

    run_self_test(MediaTools(str(program)))

    assert (tmp_path / "once").exists()


def test_a_full_disk_is_no_fault_of_ffmpeg(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
    program.chmod(0o755)

    with pytest.raises(TaskFailed) as caught:
        run_self_test(MediaTools(str(program)))

    assert caught.value.code is FailureCode.STORAGE_FULL


def counting_ffmpeg(folder: Path, media_tools: MediaTools) -> MediaTools:
    """An ffmpeg that writes a line to `folder/runs` at each start."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho run >> {folder}/runs\nexec '{media_tools.ffmpeg}' \"$@\"\n")
    program.chmod(0o755)
    return MediaTools(str(program))


def count_runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


def test_processes_that_share_a_folder_test_an_ffmpeg_once(tmp_path: Path, media_tools: MediaTools) -> None:
    tools = counting_ffmpeg(tmp_path, media_tools)
    run_shared_self_test(tools, tmp_path)
    runs = count_runs(tmp_path)

    # What one process remembers is not what the processes share.
    run_self_test.cache_clear()
    run_shared_self_test(tools, tmp_path)

    assert count_runs(tmp_path) == runs > 0


def test_another_ffmpeg_in_its_place_is_tested_again(tmp_path: Path, media_tools: MediaTools) -> None:
    tools = counting_ffmpeg(tmp_path, media_tools)
    run_shared_self_test(tools, tmp_path)
    broken_ffmpeg(tmp_path, media_tools, "amix")
    run_self_test.cache_clear()

    with pytest.raises(FfmpegUnusable):
        run_shared_self_test(tools, tmp_path)


def test_an_ffmpeg_that_failed_is_tested_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(FfmpegUnusable):
            run_shared_self_test(MediaTools("/bin/true"), tmp_path)


def test_without_the_shared_folder_each_process_tests_for_itself(tmp_path: Path, media_tools: MediaTools) -> None:
    run_shared_self_test(counting_ffmpeg(tmp_path, media_tools), tmp_path / "removed")

    assert count_runs(tmp_path) > 0
