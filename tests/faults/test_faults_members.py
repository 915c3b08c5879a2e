"""What a member of the cluster is told reaches its worker process, whatever else its host runs."""

import subprocess
import sys
from pathlib import Path

import psutil

from faults.cluster import Member, wait_until
from fixtures import child_processes

WORKER = "import subprocess, time; encoder = subprocess.Popen('true'); print(flush=True); time.sleep(600)"
"""Starts a process that ends, and never asks how it ended."""
SUPERVISOR = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORKER!r}, 'phoenix.worker'])"


def test_a_worker_is_thawed_although_its_encoder_ended_while_it_was_frozen(tmp_path: Path) -> None:
    process = child_processes.start([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE)
    member = Member("worker-0", [], {}, tmp_path / "log", process=process)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        (worker,) = psutil.Process(process.pid).children()
        wait_until(lambda: [child.status() for child in worker.children()] == [psutil.STATUS_ZOMBIE], 60)

        member.freeze()
        wait_until(lambda: worker.status() == psutil.STATUS_STOPPED, 60)
        member.thaw()

        wait_until(lambda: worker.status() == psutil.STATUS_SLEEPING, 60)
    finally:
        process.stdout.close()
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        member.kill()
