"""The failure for an exit of ffmpeg: its code, its cause, and whether it is retriable."""

import pytest

from phoenix.errors import FailureCode, Stage
from phoenix.media.errors import explain_exit, public_tail


@pytest.mark.parametrize(
    ("returncode", "stderr", "code", "is_retriable"),
    [
        (1, "av_interleaved_write_frame(): No space left on device", FailureCode.STORAGE_FULL, True),
        (1, "av_interleaved_write_frame(): File too large", FailureCode.STORAGE_FAILED, True),
        (-9, "", FailureCode.ENGINE_FAILED, True),
        (-11, "Invalid data found when processing input", FailureCode.ENGINE_FAILED, True),
        (183, "Error opening input: Invalid data found when processing input", FailureCode.MEDIA_INVALID, False),
        (1, "[mov] moov atom not found", FailureCode.MEDIA_INVALID, False),
        (1, "Stream map '0:a:0' matches no streams.", FailureCode.MEDIA_INVALID, False),
        (234, "Error initializing filters", FailureCode.ENGINE_FAILED, True),
        (1, "", FailureCode.ENGINE_FAILED, True),
        (-25, "", FailureCode.MEDIA_LIMIT, False),
        (-24, "", FailureCode.MEDIA_LIMIT, False),
        (244, "Error opening output files: Cannot allocate memory", FailureCode.MEDIA_LIMIT, True),
        (187, "x264 [error]: malloc of size 4096 failed", FailureCode.MEDIA_LIMIT, True),
        (245, "pthread_create() failed: Resource temporarily unavailable", FailureCode.MEDIA_LIMIT, True),
        (232, "Error opening input: Too many open files", FailureCode.MEDIA_LIMIT, True),
    ],
)
def test_a_failed_run_becomes_a_failure_with_its_cause(
    returncode: int, stderr: str, code: FailureCode, is_retriable: bool
) -> None:
    failure = explain_exit(returncode, stderr, Stage.ENCODE)

    assert (failure.code, failure.stage, failure.retriable) == (code, Stage.ENCODE, is_retriable)


@pytest.mark.parametrize(
    ("returncode", "stderr", "setting"),
    [
        (-25, "", "PHOENIX_MEDIA__MAX_FILE_BYTES"),
        (-24, "", "PHOENIX_MEDIA__TIMEOUT_S"),
        (244, "Cannot allocate memory", "PHOENIX_MEDIA__MAX_MEMORY_BYTES"),
    ],
)
def test_a_limit_that_was_reached_is_named_by_its_setting(returncode: int, stderr: str, setting: str) -> None:
    assert setting in explain_exit(returncode, stderr, Stage.ENCODE).detail


def test_only_the_last_lines_are_shown() -> None:
    assert public_tail("\n".join(f"line {number}" for number in range(9))) == "line 5; line 6; line 7; line 8"


def test_the_folders_of_the_server_are_not_shown() -> None:
    stderr = "Error opening input file:/srv/phoenix/tmp/job_1/a clip.mp4: '/srv/data/b.mp3' and http://x/y"

    assert "/srv" not in public_tail(stderr)
    assert "a clip.mp4" in public_tail(stderr)
    assert "b.mp3" in public_tail(stderr)
