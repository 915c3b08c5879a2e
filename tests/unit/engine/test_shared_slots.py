"""Slots of a device that several processes share. A lock is of an open file, so two objects stand for two processes."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures import child_processes
from phoenix.engine.file_lock import try_lock
from phoenix.engine.slot_queue import DeviceSlots, SharedSlots
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, TaskFailed


def slots_of(folder: Path, *, device: str = "cuda:0", count: int = 1, wait_limit_s: float = 30) -> DeviceSlots:
    return DeviceSlots(count, wait_limit_s=wait_limit_s, shared=SharedSlots(folder, device, count=count))


@pytest.mark.parametrize("count", [1, 2])
def test_all_processes_together_have_no_more_slots_than_the_device(tmp_path, count):
    seen: list[int] = []
    inside, lock = 0, threading.Lock()

    def use(slots: DeviceSlots) -> None:
        nonlocal inside
        for _ in range(5):
            with slots.acquire(StopToken()):
                with lock:
                    inside += 1
                    seen.append(inside)
                with lock:
                    inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, [slots_of(tmp_path, count=count) for _ in range(4)]))
    assert len(seen) == 20
    assert max(seen) <= count


def test_devices_do_not_wait_for_each_other(tmp_path):
    with slots_of(tmp_path).acquire(StopToken()), slots_of(tmp_path, device="cuda:1").acquire(StopToken()) as waited_s:
        assert waited_s < 30


def test_a_waiting_process_comes_before_the_process_that_had_the_slot(tmp_path):
    busy, long_wait, order = slots_of(tmp_path), slots_of(tmp_path), []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        with long_wait.acquire(StopToken()):
            order.append("long_wait")

    thread = threading.Thread(target=wait)
    with busy.acquire(StopToken()):
        thread.start()
        assert waiting.wait(100)
        _until_locked(tmp_path / "cuda:0.next")
    with busy.acquire(StopToken()):
        order.append("busy")
    thread.join(100)
    assert order == ["long_wait", "busy"]


def _until_locked(next_lock: Path) -> None:
    """Waits until another process has the lock."""
    while (descriptor := try_lock(next_lock)) is not None:
        os.close(descriptor)


def test_a_wait_past_the_limit_ends_in_timeout_and_gives_its_own_slot_back(tmp_path):
    short = slots_of(tmp_path, wait_limit_s=0.02)
    with (
        slots_of(tmp_path).acquire(StopToken()),
        pytest.raises(TaskFailed, match="by other processes") as failed,
        short.acquire(StopToken()),
    ):
        pass
    assert failed.value.code is FailureCode.TIMEOUT
    with short.acquire(StopToken()):
        assert short.in_use == 1


def test_a_stop_ends_the_wait(tmp_path):
    slots, stop = slots_of(tmp_path), StopToken()
    with slots_of(tmp_path).acquire(StopToken()), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: slots.acquire(stop).__enter__())
        _until_locked(tmp_path / "cuda:0.next")
        stop.stop(StopReason.CANCEL)
        with pytest.raises(RenderStopped):
            waiting.result(100)
    assert slots.in_use == 0


HOLDS_FOR_EVER = """
import sys, time
from pathlib import Path
from phoenix.engine.stop_token import StopToken
from phoenix.engine.slot_queue import SharedSlots

with SharedSlots(Path(sys.argv[1]), "cuda:0", count=1).acquire(StopToken(), until_s=time.monotonic() + 30) as has_slot:
    print(has_slot, flush=True)
    sys.stdin.read()
"""


def test_the_slot_of_a_killed_process_is_free_at_once(tmp_path):
    command = [sys.executable, "-c", HOLDS_FOR_EVER, str(tmp_path)]
    with child_processes.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with SharedSlots(tmp_path, "cuda:0", count=1).acquire(StopToken(), until_s=0) as has_slot:
            assert not has_slot
        os.kill(process.pid, signal.SIGKILL)
        process.wait(100)
    with slots_of(tmp_path).acquire(StopToken()) as waited_s:
        assert waited_s < 30
