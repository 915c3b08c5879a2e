"""The modules that a supervisor and a worker import before the first render."""

import sys

import pytest

from fixtures import child_processes

HEAVY = ("torch", "diffusers", "transformers", "av")


@pytest.mark.parametrize("module", ["phoenix.worker.supervisor", "phoenix.worker.main"])
def test_neither_torch_nor_a_decoder_is_imported_at_the_start(module: str) -> None:
    script = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = child_processes.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"


def test_a_worker_starts_no_thread_with_its_imports() -> None:
    # A process with threads must not be forked. numpy starts one for each core.
    script = "import phoenix.worker.main, phoenix.worker.supervisor, os; print(len(os.listdir('/proc/self/task')))"
    done = child_processes.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "1"
