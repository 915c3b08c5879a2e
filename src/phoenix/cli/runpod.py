"""`phoenix runpod`: the worker of a RunPod serverless endpoint."""

import os
from typing import Any
from uuid import uuid4

from phoenix.cli.problems import end_on_sigterm, explained, read_settings
from phoenix.cli.serverless.container_server import container_server
from phoenix.cli.serverless.progress import Progress
from phoenix.cli.serverless.reel import Reels
from phoenix.cli.serverless.runpod_sdk import RunPodJob, load_sdk, send_progress, takes_progress

PASS_OPTIONS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def run_runpod() -> None:
    """Answer the jobs of a RunPod serverless endpoint.

    A whole Phoenix runs in this container, and stays for the next job. The input of a job is the body of
    POST /v1/reels. Options of RunPod's SDK are passed on: --rp_serve_api, --test_input '{"input": {…}}'.
    """
    settings = read_settings()
    end_on_sigterm()
    container = f"{os.environ.get('RUNPOD_POD_ID', 'container')}-{uuid4().hex[:12]}"
    with explained():
        sdk = load_sdk()
        with container_server(settings, container) as server:
            reels = Reels(server)

            async def answer(job: RunPodJob) -> dict[str, Any]:
                async def report(progress: Progress) -> None:
                    if takes_progress():
                        await send_progress(sdk, job, progress)

                return await reels.answer(job["input"], job["id"], report)

            # One job at a time is the SDK's default, and right: a second reel would only wait for the same device.
            sdk.start({"handler": answer})
