"""The memory of this process: what its start leaves, and what its allocator keeps."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Generator[None]:
    """Collects nothing during the imports of a process, and never looks through what they leave: modules stay.

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


def return_freed_memory() -> None:
    """Returns the memory that the C library has kept to the kernel."""
    # Each process starts with this module.
    import ctypes  # noqa: PLC0415
    import platform  # noqa: PLC0415

    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
