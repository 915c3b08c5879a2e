"""How much memory of the machine models may use, and what pinned weights take of it."""

import os
import platform
import sys
from pathlib import Path

import pytest

from fixtures.child_processes import run
from phoenix.engine.host_memory import (
    HOST_SHARE,
    host_budget_bytes,
    host_limit_bytes,
    keep_freed_memory,
    pinned_bytes,
)

GIB = 1 << 30


def write_limit(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def limit_of(tmp_path: Path, own: str) -> int:
    (tmp_path / "own").write_text(own)
    return host_limit_bytes(tmp_path / "cgroup", tmp_path / "own")


@pytest.mark.parametrize(
    ("folder", "name", "own"),
    [
        ("pod/worker", "memory.max", "0::/pod/worker\n"),
        ("pod", "memory.max", "0::/pod/worker\n"),
        ("", "memory.max", "0::/a/path/of/the/machine\n"),
        ("memory/pod", "memory.limit_in_bytes", "5:cpu:/x\n4:memory:/pod\n"),
    ],
)
def test_the_limit_of_a_container_counts_wherever_it_is_set(tmp_path: Path, folder: str, name: str, own: str):
    write_limit(tmp_path / "cgroup" / folder, name, f"{1 << 20}\n")
    assert limit_of(tmp_path, own) == 1 << 20


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", ""])
def test_without_a_limit_the_machine_counts(tmp_path: Path, text: str):
    write_limit(tmp_path / "cgroup", "memory.max", text)
    assert limit_of(tmp_path, "0::/\n") == host_limit_bytes(tmp_path / "none", tmp_path / "none") > 0


def test_the_setting_wins_and_each_process_and_device_has_its_share():
    assert host_budget_bytes(10 * GIB, device_share=0.5, devices=4) == 5 * GIB
    assert host_budget_bytes(None, device_share=0.5, devices=4) == int(host_limit_bytes() * HOST_SHARE / 8)


@pytest.mark.parametrize(("size_bytes", "pinned"), [(1, 1), (4096, 4096), (4097, 8192), (3 * GIB, 4 * GIB)])
def test_a_pinned_tensor_takes_the_next_power_of_two(size_bytes: int, pinned: int):
    assert pinned_bytes(size_bytes) == pinned


FREED_IN_A_THREAD = """
import ctypes, resource, sys, threading
from phoenix.engine.host_memory import keep_freed_memory
from phoenix.process_memory import return_freed_memory
if "keep" in sys.argv:
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
library.free.argtypes = (ctypes.c_void_p,)

def use():
    blocks = [library.malloc(size) for size in (20 << 20, 12 << 20, 54 << 20)]
    for block in blocks:
        library.memset(block, 1, 10 << 20)
    for block in blocks:
        library.free(block)

def use_in_a_thread():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

use_in_a_thread()
again = use_in_a_thread()
return_freed_memory()
print(again, use_in_a_thread())
"""
PAGES = 3 * (10 << 20) // os.sysconf("SC_PAGE_SIZE")
of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such options")


def count_faults(*arguments: str) -> tuple[int, int]:
    """The page faults of a thread that uses memory for the second time, and of one after the memory was returned."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FREED_IN_A_THREAD, *arguments]
    again, after = run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    return int(again), int(after)


@of_glibc
def test_kept_memory_is_used_again_in_another_thread_without_page_faults():
    assert count_faults("keep")[0] < PAGES / 10 < PAGES / 2 < count_faults()[0]


@of_glibc
def test_kept_memory_can_be_returned_to_the_kernel():
    assert count_faults("keep")[1] > PAGES / 2


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_an_allocator_that_the_environment_configures_is_left_alone(name: str):
    assert not keep_freed_memory({name: "4"})
