"""What is remembered of operations that are paid for, across renders, crashes and processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from phoenix.engine.backends.veo.operation_store import KEPT_S, Notes


def test_an_operation_is_found_again_until_it_is_forgotten(tmp_path: Path):
    with Notes(tmp_path / "notes").hold("digest") as note:
        assert note.operation is None
        note.write("operations/1")
    with Notes(tmp_path / "notes").hold("digest") as note:
        assert note.operation == "operations/1"
        note.forget()
    with Notes(tmp_path / "notes").hold("digest") as note:
        assert note.operation is None


def test_requests_have_notes_of_their_own(tmp_path: Path):
    notes = Notes(tmp_path)
    with notes.hold("one") as one, notes.hold("other") as other:
        one.write("operations/1")
        assert other.operation is None


def test_a_later_operation_replaces_a_longer_name(tmp_path: Path):
    with Notes(tmp_path).hold("digest") as note:
        note.write("operations/long-name")
        note.write("operations/2")
    with Notes(tmp_path).hold("digest") as note:
        assert note.operation == "operations/2"


def test_a_request_without_an_operation_leaves_no_file(tmp_path: Path):
    with Notes(tmp_path).hold("digest"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_is_being_rendered_is_not_taken_over(tmp_path: Path):
    notes = Notes(tmp_path)
    with notes.hold("digest") as first:
        first.write("operations/1")
        with Notes(tmp_path).hold("digest") as second:
            assert second.operation is None
            second.write("operations/2")
        assert first.operation == "operations/1"
    with notes.hold("digest") as later:
        assert later.operation == "operations/1"


def test_a_killed_process_leaves_its_operation_to_the_next(tmp_path: Path):
    script = f"""
import os, sys
sys.path[:] = {sys.path!r}
from pathlib import Path
from phoenix.engine.backends.veo.operation_store import Notes
with Notes(Path({str(tmp_path)!r})).hold("digest") as note:
    note.write("operations/1")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == -9
    with Notes(tmp_path).hold("digest") as note:
        assert note.operation == "operations/1"


def test_an_operation_that_the_service_has_long_forgotten_is_not_asked_for(tmp_path: Path):
    with Notes(tmp_path).hold("digest") as note:
        note.write("operations/1")
    old_s = time.time() - KEPT_S - 60
    os.utime(tmp_path / "digest", (old_s, old_s))
    with Notes(tmp_path).hold("digest") as note:
        assert note.operation is None
    assert list(tmp_path.iterdir()) == []
