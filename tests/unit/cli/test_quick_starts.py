"""A start collects no garbage while it imports, and the running process does."""

import gc
import sys

import pytest

from fixtures import child_processes
from phoenix.process_memory import no_garbage_collection

SHOW = "import gc, {}; print(gc.isenabled(), gc.get_freeze_count() > 10_000)"


def test_nothing_is_collected_during_the_block():
    with no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_where_nothing_was_collected_before_the_block_nothing_is_after_it():
    with no_garbage_collection():
        with no_garbage_collection():
            pass
        assert not gc.isenabled()


def test_a_failed_import_does_not_leave_the_collection_off():
    with pytest.raises(ImportError), no_garbage_collection():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.parametrize("module", ["phoenix.cli", "phoenix.worker.__main__"])
def test_a_process_collects_once_it_is_imported_and_passes_over_the_imports(module: str):
    shown = child_processes.run(
        [sys.executable, "-c", SHOW.format(module)], check=True, capture_output=True, text=True
    ).stdout
    assert shown.split() == ["True", "True"]
