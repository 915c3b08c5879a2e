"""Whether `phoenix capacity` predicts what a fleet does: bursts of the specifications that Phoenix started from.

    python benchmarks/capacity/measure.py                # a quarter of an hour
    python benchmarks/capacity/measure.py --clip-s 20    # a third of it, where the encoder weighs three times as much

Each case has a fleet of its own: a replica, PostgreSQL, Redis, GPU-queue workers, and a worker that joins. All run at
the same time. A clip of the animatic model is paced: it holds its slot for `--clip-s` and computes next to nothing
meanwhile. Reels of one clip are sent one after the other, as fast as they are accepted. Then both clocks are compared:
until the last slot is free, and until the last reel is ready, with its clip encoded and joined.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import Manager, get_context
from pathlib import Path
from threading import Barrier
from typing import Any

from typer.testing import CliRunner

from phoenix.cli.app import app
from phoenix.clock import utc_now
from phoenix.jobs.lifecycle import FINISHING_STAGES

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from faults.cluster import TINY, Cluster, run_cluster, wait_until

STEPS = 10
PRICE_PER_HOUR = 1.39
CALM: Mapping[str, str] = {
    "PHOENIX_SCHEDULER__LEASE_S": "60",
    "PHOENIX_SCHEDULER__HEARTBEAT_S": "5",
    "PHOENIX_SCHEDULER__REAP_INTERVAL_S": "5",
    "PHOENIX_SCHEDULER__DISPATCH_CHECK_S": "5",
    "PHOENIX_DATABASE__STATEMENT_TIMEOUT_S": "30",
    "PHOENIX_LOG__LEVEL": "WARNING",
    "OMP_NUM_THREADS": "1",
}
"""The fault tests are in a haste that a machine with six fleets cannot keep up with."""


@dataclass(frozen=True)
class Case:
    """Reels of one clip that arrive at once, on a fleet."""

    reels: int
    workers: int
    slots: int = 1
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.reels} on {self.workers} x {self.slots}{self.note}"


CASES = (
    Case(20, 5),
    Case(50, 7, 8),
    Case(50, 1, 8),
    Case(15, 3),
    Case(15, 1),
    Case(120, 1, 8, " (a hundredth of 12,000 on 100 x 8)"),
)


@dataclass(frozen=True)
class Run:
    """Seconds since the first reel was sent."""

    slots_free_s: float
    ready_s: float


def predict(case: Case, clip_s: float) -> Mapping[str, Any]:
    """What the command prints."""
    options = {
        "--burst": case.reels,
        "--workers": case.workers,
        "--slots-per-worker": case.slots,
        "--clip-s": clip_s,
        "--price-per-hour": PRICE_PER_HOUR,
    }
    given = [str(part) for option in options.items() for part in option]
    done = CliRunner().invoke(app, ["capacity", *given, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def run(case: Case, clip_s: float, others: Barrier) -> Run:
    """The burst on a real fleet. No burst begins while another fleet still starts."""
    environment = {
        **CALM,
        "PHOENIX_WORKER__MAX_CONCURRENT_GENERATIONS": str(case.slots),
        "PHOENIX_ANIMATIC__SECONDS_PER_STEP": str(clip_s / STEPS),
    }
    with tempfile.TemporaryDirectory(prefix="phoenix-capacity-") as folder, run_cluster(Path(folder)) as cluster:
        cluster.add_api(**environment)
        cluster.add_worker("gpu", processes=case.workers, **environment)
        cluster.add_worker("media", **environment)
        cluster.wait_until_ready(case.workers + 1)
        others.wait()
        began_at = utc_now()
        jobs = [cluster.submit("a red balloon", steps=STEPS) for _ in range(case.reels)]
        wait_until(lambda: _are_ready(cluster, jobs), 60 * 60)
        ready_at = max(_instant(cluster.get(f"/v1/jobs/{job_id}")["finished_at"]) for job_id in jobs)
        free_at = max(_slot_end(cluster, job_id) for job_id in jobs)
        return Run((free_at - began_at).total_seconds(), (ready_at - began_at).total_seconds())


def _are_ready(cluster: Cluster, jobs: Sequence[str]) -> bool:
    # Seldom: on a machine with six fleets, a look is work too.
    time.sleep(1)
    return all(cluster.get(f"/v1/jobs/{job_id}")["state"] == "succeeded" for job_id in reversed(jobs))


def _slot_end(cluster: Cluster, job_id: str) -> datetime:
    """When the clip gave its slot back."""
    attempts: Any = cluster.get(f"/v1/jobs/{job_id}/attempts")["data"]
    (clip,) = [each for each in attempts if each["task"] == "render"]
    held_s = sum(seconds for stage, seconds in clip["stages"].items() if stage not in FINISHING_STAGES)
    return _instant(clip["started_at"]) + timedelta(seconds=held_s)


def _instant(text: Any) -> datetime:
    return datetime.fromisoformat(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip-s", type=float, default=60.0)
    every = [str(number) for number in range(1, len(CASES) + 1)]
    parser.add_argument("--cases", nargs="+", choices=every, default=every, help="Numbers, in the order of the file.")
    given = parser.parse_args()
    clip_s: float = given.clip_s
    began = f"{utc_now():%Y-%m-%d %H:%M}, load {os.getloadavg()[0]:.1f}"
    cases = [CASES[int(number) - 1] for number in given.cases]
    # A process each: asyncpg crashed with event loops in several threads.
    with Manager() as manager, ProcessPoolExecutor(len(cases), mp_context=get_context("spawn")) as pool:
        others = manager.Barrier(len(cases))
        runs = [pool.submit(run, case, clip_s, others) for case in cases]
        print(f"clips of {clip_s:g} s, {TINY['resolution']}; {began} to ", end="", flush=True)
        found = [each.result() for each in runs]
    print(f"{utc_now():%H:%M}, load {os.getloadavg()[0]:.1f}")
    names = ("evenly", "predicted", "slots free", "ready", "paid for, an hour")
    print(f"{'reels on workers x slots':42} {names[0]:>7} {names[1]:>9} {names[2]:>16} {names[3]:>16}  {names[4]}")
    for case, measured in zip(cases, found, strict=True):
        report = predict(case, clip_s)
        last_s = report["last_s"]
        clocks = [f"{each:7.1f} ({each / last_s:.3f})" for each in (measured.slots_free_s, measured.ready_s)]
        paid = f"{report['worker_s']:,.0f} s, {report['per_hour']:.2f}"
        print(f"{case.name:42} {report['even_s']:7.1f} {last_s:9.1f} {clocks[0]:>16} {clocks[1]:>16}  {paid}")


if __name__ == "__main__":
    main()
