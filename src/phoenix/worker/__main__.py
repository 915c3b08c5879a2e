"""`python -m phoenix.worker`: one worker process, as its supervisor starts it."""

import argparse
import os
import sys

from phoenix.contract.fleet import QueueName
from phoenix.ids import new_worker_id
from phoenix.processes import follow_lifeline
from phoenix.settings import load_settings
from phoenix.telemetry.logs import configure_logs
from phoenix.worker.exits import Exit
from phoenix.worker.main import WorkerPlan, run_worker

QUEUES: dict[str, tuple[QueueName, ...]] = {"gpu": ("gpu",), "media": ("media",), "all": ("gpu", "media")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m phoenix.worker", description=__doc__)
    parser.add_argument("--queue", choices=QUEUES, default="all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--worker-id", default=None)
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    follow_lifeline(lambda: os._exit(Exit.ORPHANED))
    plan = WorkerPlan(QUEUES[arguments.queue], arguments.device, arguments.worker_id or new_worker_id())
    return run_worker(settings, plan)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: that joins threads, and one that hangs in a render would keep the process for ever.
    os._exit(status)
