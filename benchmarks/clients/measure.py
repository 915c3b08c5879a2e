"""The CPU of a watch over 1,000 events in Node, against a bare `EventSource` loop of the `eventsource` package.

    PYTHONPATH=src:tests:benchmarks .venv/bin/python benchmarks/clients/measure.py [ROUNDS]

Both read the same stream from a server of its own. The contenders take turns, one process each.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from fixtures import child_processes  # noqa: E402
from fixtures.client_tools import Tools, install_node_tools  # noqa: E402
from fixtures.js_client import NAME, build  # noqa: E402

EVENTS = 1000
TIMES = 50
CONTENDERS = ("watch", "eventsource")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        project = prepare(Path(folder), install_node_tools())
        command = ["/usr/bin/env", "node", "events.mjs", str(EVENTS)]
        server = child_processes.start(command, cwd=project, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            pairs = [[measure(project, contender, url) for contender in CONTENDERS] for _ in range(rounds)]
        finally:
            server.kill()
            server.wait()
    for index, contender in enumerate(CONTENDERS):
        print(f"{contender:12} {statistics.median(pair[index] for pair in pairs):6.2f} ms of CPU for {EVENTS} events")
    ratios = sorted(watch / bare for watch, bare in pairs)
    print(
        f"{'ratio':12} {statistics.median(ratios):6.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}; at most 1.2 is good"
    )


def prepare(folder: Path, tools: Tools) -> Path:
    """A folder with both scripts, the client and the package of the other contender."""
    source = build(tools, folder / "source")
    modules = folder / "project" / "node_modules"
    shutil.copytree(source / "dist", modules / NAME / "dist")
    shutil.copy(source / "package.json", modules / NAME)
    for package in ("eventsource", "eventsource-parser"):
        (modules / package).symlink_to(tools.programs.parent / package)
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder / "project")
    return folder / "project"


def measure(project: Path, contender: str, url: str) -> float:
    """Milliseconds of CPU for one following of the job."""
    command = ["/usr/bin/env", "node", "follow.mjs", contender, url, str(TIMES)]
    done = child_processes.run(command, cwd=project, env=os.environ, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["seen"] == EVENTS * (EVENTS + 1) / 2
    return found["cpu_ms"]


if __name__ == "__main__":
    main()
