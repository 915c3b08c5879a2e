"""`make fuzz`: thousands of requests from one seed, half of them by the document, half by callers who remember."""

import argparse
import asyncio
import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from faults.servers import PrivatePostgres
from fixtures.redis_server import RedisServer
from fuzz.aftermath import MAX_GROWTH_BYTES, read_log_faults, read_row_faults
from fuzz.callers import Caller
from fuzz.document import ALL_PHASES, RANDOM_PHASES, run_document
from fuzz.exchanges import Fault
from fuzz.hits import Hits, format_table, list_unreached, parse_hits
from fuzz.server import FuzzedServer, run_server
from fuzz.stateful import MAX_FAULTS, StatefulRun, make_caller, run_stateful
from phoenix.services import open_services

EXAMPLES = 20
"""Random cases of a phase and an operation, before the next seed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="Requests in all; there may be a few more.")
    parser.add_argument("--stateful", type=int, default=None, help="How many of them callers send; half if left out.")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="Draws the same requests again.")
    parser.add_argument("--minutes", type=float, default=math.inf, help="Ends earlier, after so long a time.")
    parser.add_argument("--folder", type=Path, default=None, help="Kept, with the log; a temporary one if left out.")
    arguments = parser.parse_args()
    stateful = arguments.cases // 2 if arguments.stateful is None else arguments.stateful
    end_s = time.monotonic() + arguments.minutes * 60
    # Asked to end, it ends its processes first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="phoenix-fuzz-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    print(f"seed: {arguments.seed}\nlogs: {folder}", flush=True)
    with private_server(folder) as server:
        faults, hits = asyncio.run(fuzz(server, folder, arguments.seed, arguments.cases - stateful, stateful, end_s))
    print(format_table(hits), *list_unreached(hits), *faults[:MAX_FAULTS], sep="\n")
    print(f"{sum(hits.values())} answers, {len(faults)} faults")
    return 1 if faults else 0


@contextmanager
def private_server(folder: Path) -> Iterator[FuzzedServer]:
    redis = RedisServer(folder)
    redis.start()
    try:
        with PrivatePostgres.running() as postgres, run_server(folder, postgres.async_url, redis.url) as server:
            yield server
    finally:
        redis.kill()


async def fuzz(
    server: FuzzedServer, folder: Path, seed: int, by_document: int, stateful: int, end_s: float
) -> tuple[list[Fault], Hits]:
    async with open_services(server.settings) as services:
        readers = [await make_caller(services, name) for name in ("reader", "stranger")]
        faults = await fuzz_document(server, folder, readers, seed=seed, cases=by_document, end_s=end_s)
        before_bytes = server.resident_bytes()
        run = await run_stateful(
            services, server.url, folder, seed=seed, cases=stateful, end_s=end_s, on_progress=report
        )
        grown_bytes = server.resident_bytes() - before_bytes
        print(
            f"stateful: {run.cases} cases, {len(run.faults)} faults; {grown_bytes / 1e6:.1f} MB more memory", flush=True
        )
        if grown_bytes > MAX_GROWTH_BYTES:
            faults.append(Fault("memory has a bound", "the server", f"it grew by {grown_bytes} bytes"))
        faults += [*run.faults, *read_log_faults(server.log, run), *await read_row_faults(services.database, run)]
    return faults, read_hits(server, run)


async def fuzz_document(
    server: FuzzedServer, folder: Path, readers: list[Caller], *, seed: int, cases: int, end_s: float
) -> list[Fault]:
    """One seed after the other, until there were enough cases or one of them has failed."""
    keys = {caller.name: caller.key for caller in readers}
    done, phases = 0, ALL_PHASES
    while done < cases and time.monotonic() < end_s:
        run = await asyncio.to_thread(
            run_document, server.url, keys, folder, examples=EXAMPLES, seed=seed, phases=phases
        )
        (folder / f"document-{seed}.txt").write_text(run.output)
        done, phases = done + run.cases, RANDOM_PHASES
        print(f"document: seed {seed}, {run.cases} cases, {'passed' if run.has_passed else 'failed'}", flush=True)
        if not run.has_passed:
            return [Fault("the server does what the document says", f"seed {seed}", run.output[-20_000:])]
        seed += 1
    return []


def report(run: StatefulRun) -> None:
    print(f"stateful: {run.cases} cases, {len(run.faults)} faults", flush=True)


def read_hits(server: FuzzedServer, run: StatefulRun) -> Hits:
    (operator,) = (caller for caller in run.callers.active if caller.is_admin)
    answer = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {operator.key}"}, timeout=60)
    return parse_hits(answer.raise_for_status().text)


if __name__ == "__main__":
    sys.exit(main())
