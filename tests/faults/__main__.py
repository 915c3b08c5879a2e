"""`make faults`: seeded runs of faults until enough jobs have been through them, and a table of what came of it."""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from faults.chaos import Report, run_chaos, upload_sounds
from faults.checker import describe
from faults.cluster import run_cluster
from faults.network import Network, can_be_private, start_again_in_private
from faults.sound import write_tone

HOSTS = {
    True: "each worker in a network namespace of its own, whose cable is pulled",
    False: "none; there are no network namespaces here, and the proxies alone cut connections",
}
HEADER = f"{'seed':>6}{'jobs':>6}{'faults':>8}{'findings':>10}{'ended':>9}{'lost':>6}{'again p50':>11}{'again max':>11}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="Goes on until so many have been accepted.")
    parser.add_argument("--runs", type=int, default=1, help="And until there were so many runs.")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="Of the first run.")
    parser.add_argument("--duration", type=float, default=60, help="Seconds of faults per run.")
    parser.add_argument("--folder", type=Path, default=None, help="Kept, with the logs; a temporary one if left out.")
    parser.add_argument("--private-network", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.private_network and can_be_private():
        start_again_in_private(["-m", "faults", *sys.argv[1:], "--private-network"])
    # Asked to end, it ends its processes first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="phoenix-faults-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    reports: list[Report] = []
    with private_network(wanted=arguments.private_network) as network, run_cluster(folder, network) as cluster:
        print(f"logs: {folder}\nhosts: {HOSTS[network is not None]}\n{HEADER}", flush=True)
        cluster.add_fleet()
        sounds = upload_sounds(cluster, write_tone(folder / "tone.wav"))
        while len(reports) < arguments.runs or sum(len(report.accepted) for report in reports) < arguments.jobs:
            seed = arguments.seed + len(reports)
            reports.append(run_chaos(cluster, seed, duration_s=arguments.duration, sounds=sounds, end_within_s=240))
            print(row(str(seed), [reports[-1]]), flush=True)
            if reports[-1].findings:
                break
            cluster.heal()
            cluster.wait_until_ready()
    print(row("all", reports))
    print("faults:", dict(sum((report.faults for report in reports), Counter[str]())))
    print("no 202:", dict(sum((report.refused for report in reports), Counter[str]())))
    findings = [finding for report in reports for finding in report.findings]
    print(describe(findings))
    return 1 if findings else 0


@contextmanager
def private_network(*, wanted: bool) -> Generator[Network | None]:
    network = Network() if wanted else None
    try:
        yield network
    finally:
        if network:
            network.close()


def row(name: str, reports: list[Report]) -> str:
    again_s = sorted(seconds for report in reports for seconds in report.recoveries_s)
    p50, longest = (f"{statistics.median(again_s):.2f} s", f"{again_s[-1]:.2f} s") if again_s else ("-", "-")
    return (
        f"{name:>6}{sum(len(report.accepted) for report in reports):>6}"
        f"{sum(report.faults.total() for report in reports):>8}"
        f"{sum(len(report.findings) for report in reports):>10}"
        f"{max(report.ended_in_s for report in reports):>7.1f} s"
        f"{len(again_s):>6}{p50:>11}{longest:>11}"
    )


if __name__ == "__main__":
    sys.exit(main())
