"""What a whole run leaves on disk is closed to other accounts, but for the file that the user asked for."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.up_process import PhoenixStarter


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The umask of most accounts, with which anybody may read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_video_that_the_user_named_can_be_read_by_others(
    start_phoenix: PhoenixStarter, tmp_path: Path, wav_file: Path
):
    data = tmp_path / "data"
    arguments = ("--duration", "1", "--steps", "2", "--fps", "8", "--audio", str(wav_file), "-o", "reel.mp4")
    run = start_phoenix("generate", "a red balloon", *arguments, PHOENIX_DATA_DIR=str(data))
    assert run.wait() == 0, run.log

    left = [data, *data.rglob("*")]
    named = {path.name for path in left}

    assert {str(path): oct(mode_of(path)) for path in left if mode_of(path) & 0o077} == {}
    # The uploaded sound, the database, the server of Redis and the log are among them.
    assert {"phoenix.db", "redis", "uploads", "generate.log"} <= named
    assert mode_of(tmp_path / "reel.mp4") == 0o644
