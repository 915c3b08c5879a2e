"""Measures Phoenix against its peers and its limits, and prints one table.

    make bench [ONLY="post queue-dispatcher"] [BENCH_ARGS="--against benchmarks/runs/FILE.json"]

Servers run on loopback addresses and end with this program. The exit status is 1 if a row is worse than in `--against`.
"""

import argparse
import dataclasses
import json
import math
import platform
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from suite.borrowed import REPOSITORY, child_processes
from suite.flames import draw
from suite.groups import Group, choose, measure_group
from suite.instructions import find_counter
from suite.processes import measure_others_cores
from suite.profiles import PROFILER
from suite.results import Measurement, Result, Row, conclude
from suite.rows import GROUPS
from suite.runs import Change, Machine, Run, compare, load_run, save_run
from suite.stacks import top_frames, top_list
from suite.table import counts_of, differences_table, replace_section, section_of, table_of

RUNS = REPOSITORY / "benchmarks" / "runs"
PAGE = REPOSITORY / "docs" / "performance.md"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="ROWS", help="words with which names of rows or groups begin")
    parser.add_argument("--list", action="store_true", help="list the rows, and measure nothing")
    parser.add_argument("--json", action="store_true", help="print the run as JSON instead of the table")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the run to this file")
    parser.add_argument("--against", type=Path, metavar="RUN", help="compare with a saved run")
    parser.add_argument("--page", action="store_true", help=f"save into {RUNS.name}/, and write docs/performance.md")
    parser.add_argument("--rounds", type=int, default=5, help="of each row; below 5 there is no verdict")
    parser.add_argument("--budget-s", type=float, default=1200, help="no group of rows begins later; no limit if 0")
    parser.add_argument("--profile", metavar="ROWS", help="sample the stacks of these rows instead of measuring them")
    parser.add_argument("--flames", type=Path, metavar="FOLDER", help="draw what --profile has sampled as SVG, too")
    return parser.parse_args()


def main() -> int:
    given = parse_arguments()
    chosen = choose(GROUPS, given.profile or given.only)
    if not chosen:
        print(f"no row begins with {given.profile or given.only!r}", file=sys.stderr)
        return 2
    if given.list:
        for row in (row for _, rows in chosen for row in rows):
            print(f"{row.name:24} {row.title}")
        return 0
    # Asked to end, it ends its processes first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if given.profile:
        return profile(chosen, given.rounds, given.flames)
    run = measure_all(chosen, given.rounds, given.budget_s or math.inf)
    if given.save:
        save_run(run, given.save)
    if given.page:
        write_page(run)
    print(json.dumps(dataclasses.asdict(run), indent=1) if given.json else f"{table_of(run.results)}\n")
    print(f"{counts_of(run.results)}, in {run.took_s / 60:.1f} minutes", file=sys.stderr)
    return report_differences(run, given.against) if given.against else 0


def measure_all(chosen: Sequence[tuple[Group, tuple[Row, ...]]], rounds: int, budget_s: float) -> Run:
    began_s, results, others = time.monotonic(), list[Result](), [measure_others_cores()]
    commit = read_commit()
    for group, rows in chosen:
        print(f"measuring {group.name} …", file=sys.stderr, flush=True)
        left_s = budget_s - (time.monotonic() - began_s)
        measured: list[Measurement] = []
        try:
            for each in measure_group(group, rows, rounds, left_s):
                measured.append(each)  # noqa: PERF402 - an interruption leaves what came before it
        except KeyboardInterrupt:
            # What is measured so far is still shown and saved.
            budget_s = 0.0
        others.append(measure_others_cores())
        found = [conclude(each, others_cores=max(others[-2:])) for each in measured]
        order = [row.name for row in rows]
        results += sorted(found, key=lambda result: order.index(result.row))
        for result in results[-len(rows) :]:
            ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
            print(f"{result.row:24} {ratio:>8}  {result.verdict} {result.reason}", file=sys.stderr, flush=True)
    return Run(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),  # noqa: TID251 - a time of the machine
        commit=commit,
        machine=describe_machine(),
        others_cores=round(max(others), 2),
        took_s=round(time.monotonic() - began_s, 1),
        results=tuple(results),
    )


def profile(chosen: Sequence[tuple[Group, tuple[Row, ...]]], rounds: int, flames: Path | None) -> int:
    PROFILER.folder = REPOSITORY / "build" / "profiles"
    for group, rows in chosen:
        for measured in measure_group(group, rows, rounds, math.inf):
            print(f"{measured.row.name}: {measured.reason or 'sampled'}", file=sys.stderr)
    for path in PROFILER.written:
        print(f"\n{path.relative_to(REPOSITORY)}: share of samples in which a function was on the stack, and innermost")
        print(top_list(top_frames(path.read_text())))
        if flames is not None:
            flames.mkdir(parents=True, exist_ok=True)
            (flames / f"{path.stem}.svg").write_text(draw(path.read_text(), path.stem))
    return 0 if PROFILER.written else 1


def write_page(run: Run) -> None:
    name = f"{run.date[:10]}.json"
    save_run(run, RUNS / name)
    PAGE.write_text(replace_section(PAGE.read_text(), section_of(run, name)))


def report_differences(run: Run, path: Path) -> int:
    differences = compare(run, load_run(path))
    print(differences_table(differences))
    return 1 if any(each.change is Change.WORSE for each in differences) else 0


def read_commit() -> str:
    done = child_processes.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def describe_machine() -> Machine:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        cpu=names[0] if names else platform.machine(),
        cores=psutil.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9),
        python=f"Python {platform.python_version()}",
        counter=find_counter().name,
    )


if __name__ == "__main__":
    sys.exit(main())
