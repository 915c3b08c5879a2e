"""The records of paid operations, across renders, crashes and processes."""

import os
import sys
import time
from pathlib import Path

from fixtures import child_processes
from phoenix.engine.backends.veo.operation_store import MAX_AGE_S, OperationStore


def test_an_operation_is_found_again_until_it_is_deleted(tmp_path: Path):
    with OperationStore(tmp_path / "store").lock("digest") as record:
        assert record.operation is None
        record.write("operations/1")
    with OperationStore(tmp_path / "store").lock("digest") as record:
        assert record.operation == "operations/1"
        record.delete()
    with OperationStore(tmp_path / "store").lock("digest") as record:
        assert record.operation is None


def test_requests_have_records_of_their_own(tmp_path: Path):
    store = OperationStore(tmp_path)
    with store.lock("one") as one, store.lock("other") as other:
        one.write("operations/1")
        assert other.operation is None


def test_a_later_operation_replaces_a_longer_name(tmp_path: Path):
    with OperationStore(tmp_path).lock("digest") as record:
        record.write("operations/long-name")
        record.write("operations/2")
    with OperationStore(tmp_path).lock("digest") as record:
        assert record.operation == "operations/2"


def test_a_request_without_an_operation_leaves_no_file(tmp_path: Path):
    with OperationStore(tmp_path).lock("digest"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_is_being_rendered_is_not_taken_over(tmp_path: Path):
    store = OperationStore(tmp_path)
    with store.lock("digest") as first:
        first.write("operations/1")
        with OperationStore(tmp_path).lock("digest") as second:
            assert second.operation is None
            second.write("operations/2")
        assert first.operation == "operations/1"
    with store.lock("digest") as later:
        assert later.operation == "operations/1"


def test_the_operation_of_a_killed_process_is_found_by_the_next(tmp_path: Path):
    script = f"""
import os, sys
sys.path[:] = {sys.path!r}
from pathlib import Path
from phoenix.engine.backends.veo.operation_store import OperationStore
with OperationStore(Path({str(tmp_path)!r})).lock("digest") as record:
    record.write("operations/1")
    os.kill(os.getpid(), 9)
"""
    assert child_processes.run([sys.executable, "-c", script], check=False, timeout=100).returncode == -9
    with OperationStore(tmp_path).lock("digest") as record:
        assert record.operation == "operations/1"


def test_an_operation_that_has_expired_is_not_polled(tmp_path: Path):
    with OperationStore(tmp_path).lock("digest") as record:
        record.write("operations/1")
    old_s = time.time() - MAX_AGE_S - 60
    os.utime(tmp_path / "digest", (old_s, old_s))
    with OperationStore(tmp_path).lock("digest") as record:
        assert record.operation is None
    assert list(tmp_path.iterdir()) == []
