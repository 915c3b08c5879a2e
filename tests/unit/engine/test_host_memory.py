"""How much memory of the machine models may use, and what pinned weights take of it."""

from pathlib import Path

import pytest

from phoenix.engine.host_memory import HOST_SHARE, host_budget_bytes, host_limit_bytes, pinned_bytes

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
