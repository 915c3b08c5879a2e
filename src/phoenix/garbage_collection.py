"""Spares the start of a process the garbage collection. Runs once per process, around its imports."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Generator[None]:
    """Collects nothing during the block, and never looks through what the block leaves: imported modules stay.

    Measured with Python 3.11: the collections are a fifth of the CPU time of the imports of an API or worker process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
