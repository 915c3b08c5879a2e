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
from phoenix.errors import PhoenixError, install_extra
from phoenix.settings import Settings

SEND_WITHIN_S = 10

RunPodJob = dict[str, Any]


class RunPodSdk(Protocol):
    """The part of `runpod.serverless` that Phoenix uses."""

    def start(self, config: dict[str, Any]) -> None: ...
    def progress_update(self, job: RunPodJob, progress: Progress) -> None: ...


class SdkMissing(PhoenixError):
    """RunPod's SDK is not installed."""


def load_sdk() -> RunPodSdk:
    """RunPod's SDK. Raises `SdkMissing`."""
    # The default level is DEBUG, which logs every answer with its signed links.
    if "RUNPOD_DEBUG_LEVEL" not in os.environ:
        os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
    # The SDK also gives the root logger a handler, which would log every request of the client.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return cast("RunPodSdk", import_module("runpod.serverless"))
    except ModuleNotFoundError as error:
        if error.name != "runpod":
            raise
        raise SdkMissing(f"RunPod's SDK is not installed: {install_extra('runpod')}.") from error


async def send_progress(sdk: RunPodSdk, job: RunPodJob, progress: Progress) -> None:
    """Sends a report, and waits until it is sent.

    The SDK sends each report from a new thread. A report that arrives after the result leaves the job IN_PROGRESS for
    ever (runpod-python#250), so the next report and the result wait for it.
    """
    before = set(threading.enumerate())
    sdk.progress_update(job, progress)
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, SEND_WITHIN_S)


def takes_progress() -> bool:
    """Whether the SDK can send reports. In its local modes each report would fail three times."""
    return "RUNPOD_WEBHOOK_POST_OUTPUT" in os.environ


PRIVATE_GROUPS = ("redis", "database")


@contextmanager
def container_server(settings: Settings, container: str) -> Generator[OwnServer]:
    """A server for this container, which logs to stderr. Its files on disk are deleted at the end of the block.

    `container`: a name that no other container ever had. Raises `PrivateServerFailed`. Call it from the main thread.
    """
    # Several containers may share a volume, and only one server can use a folder.
    parent = settings.data_dir.absolute() if "data_dir" in settings.model_fields_set else None
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="serverless-", dir=parent) as folder,
        own_server(container_settings(settings, Path(folder), container)) as server,
    ):
        yield server


def container_settings(settings: Settings, folder: Path, container: str) -> Settings:
    """Settings with the store of the operator, but without the Redis and the database of the operator."""
    private = private_settings(settings, folder, PRIVATE_GROUPS)
    if settings.storage.url is None:
        return private
    # A server deletes files that its database does not know, so two servers must not share a folder.
    storage = settings.storage.model_copy(update={"url": f"{settings.storage.url.rstrip('/')}/{container}"})
    return private.model_copy(update={"storage": storage})


def run_runpod() -> None:
    """Answer the jobs of a RunPod serverless endpoint.

    A complete Phoenix runs in this container and stays for the next job. The input of a job is the body of
    POST /v1/reels. Options go to RunPod's SDK: --rp_serve_api, --test_input '{"input": {…}}'.
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

            # The SDK runs one job at a time by default. A second reel would only wait for the same device.
            sdk.start({"handler": answer})
