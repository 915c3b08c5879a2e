"""`phoenix runpod`: the worker of a RunPod serverless endpoint."""

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import uuid4

from phoenix.cli.console import end_on_sigterm, exit_on_error, read_settings
from phoenix.cli.embedded.private import OwnServer, own_server, private_settings
from phoenix.cli.serverless.answers import Progress
from phoenix.cli.serverless.reel import ReelHandler
from phoenix.errors import PhoenixError
from phoenix.settings import Settings

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
    # It also gives the root logger a handler, which would log each of our own requests.
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


PRIVATE_GROUPS = ("redis", "database")


@contextmanager
def container_server(settings: Settings, container: str) -> Generator[OwnServer]:
    """A server of this container's own, with its messages on stderr; what it keeps on disk goes with it.

    `container` is a name that no other one has or had. Raises `PrivateServerFailed`. Call it from the main thread.
    """
    # In a new folder, because containers may be given one volume and only one server can have a folder.
    parent = settings.data_dir.absolute() if "data_dir" in settings.model_fields_set else None
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="serverless-", dir=parent) as folder,
        own_server(container_settings(settings, Path(folder), container)) as server,
    ):
        yield server


def container_settings(settings: Settings, folder: Path, container: str) -> Settings:
    """With the operator's store, and without the operator's Redis and database."""
    private = private_settings(settings, folder, PRIVATE_GROUPS)
    if settings.storage.url is None:
        return private
    # A server deletes files of which its database knows nothing: in one folder they would delete each other's.
    storage = settings.storage.model_copy(update={"url": f"{settings.storage.url.rstrip('/')}/{container}"})
    return private.model_copy(update={"storage": storage})


PASS_OPTIONS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def run_runpod() -> None:
    """Answer the jobs of a RunPod serverless endpoint.

    A whole Phoenix runs in this container, and stays for the next job. The input of a job is the body of
    POST /v1/reels. Options of RunPod's SDK are passed on: --rp_serve_api, --test_input '{"input": {…}}'.
    """
    settings = read_settings()
    end_on_sigterm()
    container = f"{os.environ.get('RUNPOD_POD_ID', 'container')}-{uuid4().hex[:12]}"
    with exit_on_error():
        sdk = load_sdk()
        with container_server(settings, container) as server:
            reels = ReelHandler(server)

            async def answer(job: RunPodJob) -> dict[str, Any]:
                async def report(progress: Progress) -> None:
                    if takes_progress():
                        await send_progress(sdk, job, progress)

                return await reels.answer(job["input"], job["id"], report)

            # One job at a time is the SDK's default, and right: a second reel would only wait for the same device.
            sdk.start({"handler": answer})
