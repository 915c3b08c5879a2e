"""`python -m phoenix.worker`: one worker process, as its supervisor starts it."""

import argparse
import os
import sys

from phoenix.catalog.model import CatalogError
from phoenix.contract.fleet import QueueName
from phoenix.engine.device import NoSuchDevice
from phoenix.ids import new_worker_id
from phoenix.media.tools import FfmpegMissing
from phoenix.processes import follow_lifeline
from phoenix.settings import Settings, load_settings
from phoenix.telemetry.logs import configure_logs, get_logger
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.main import WorkerPlan, run_worker

_logger = get_logger("phoenix.worker")

NAMES = ("gpu", "remote", "media", "all")

UNUSABLE = (CatalogError, FfmpegMissing, NoSuchDevice)
"""What no other start with the same settings would mend."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m phoenix.worker", description=__doc__)
    parser.add_argument("--queue", choices=NAMES, default="all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--worker-id", default=None)
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    follow_lifeline(lambda: os._exit(ExitStatus.ORPHANED))
    queues = queues_of(arguments.queue, settings)
    plan = WorkerPlan(queues, arguments.device, arguments.worker_id or new_worker_id())
    try:
        return run_worker(settings, plan)
    except UNUSABLE as error:
        _logger.critical("this worker cannot work", error=error.detail)
        return ExitStatus.UNUSABLE


def queues_of(name: str, settings: Settings) -> tuple[QueueName, ...]:
    """`all` leaves the remote queue out where no remote service is configured: its tasks are for others then."""
    match name:
        case "gpu" | "remote" | "media":
            return (name,)
        case _:
            return ("gpu", "remote", "media") if settings.veo.is_configured else ("gpu", "media")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: that joins threads, and one that hangs in a render would keep the process for ever.
    os._exit(status)
