"""RunPod's SDK: found without being imported by anything else, and its progress reports put in order."""

import asyncio
import logging
import os
import threading
from importlib import import_module
from typing import Any, Protocol, cast

from phoenix.cli.serverless.progress import Progress
from phoenix.errors import PhoenixError

SEND_WITHIN_S = 10

RunPodJob = dict[str, Any]


class RunPodSdk(Protocol):
    """What is used of `runpod.serverless`."""

    def start(self, config: dict[str, Any]) -> None: ...
    def progress_update(self, job: RunPodJob, progress: Progress) -> None: ...


class SdkMissing(PhoenixError):
    """RunPod's SDK is not installed: it comes with the extra `phoenix[runpod]`."""


def load_sdk() -> RunPodSdk:
    """Raises `SdkMissing`."""
    # Its default is DEBUG, which logs every answer of a handler, and with it signed links.
    if "RUNPOD_DEBUG_LEVEL" not in os.environ:
        os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
    # It also gives the root logger a handler, which would tell each of our own requests.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return cast("RunPodSdk", import_module("runpod.serverless"))
    except ModuleNotFoundError as error:
        if error.name != "runpod":
            raise
        raise SdkMissing from error


async def send_progress(sdk: RunPodSdk, job: RunPodJob, progress: Progress) -> None:
    """Reports, and waits until that has been sent.

    The SDK sends from a thread of each report's own. One that is overtaken by the result leaves the job IN_PROGRESS
    for ever (runpod-python#250), so the next report and the result wait for it.
    """
    before = set(threading.enumerate())
    sdk.progress_update(job, progress)
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, SEND_WITHIN_S)


def takes_progress() -> bool:
    """Not in the SDK's local modes, where each report would be tried three times and fail."""
    return "RUNPOD_WEBHOOK_POST_OUTPUT" in os.environ
