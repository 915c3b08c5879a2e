"""One serverless job from its input to its answer: a reel of the server in the container. Uses no SDK."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from phoenix.cli.embedded.private import OwnServer
from phoenix.cli.serverless import answers
from phoenix.cli.serverless.answers import Answer, Progress, Throttle, find_progress
from phoenix.client import AsyncPhoenix, PhoenixClientError, PhoenixProblem, PhoenixUnreachable, RetryPolicy
from phoenix.client.errors import problem_from
from phoenix.contract import Job, JobQueueMoved, JobState

REPORT_EVERY_S = 2
LOOK_EVERY_S = 1
CANCEL_WITHIN_S = 5
RETRY_POLICY = RetryPolicy(attempts=3, first_delay_s=0.2)

Report = Callable[[Progress], Awaitable[None]]


class ServerEnded(Exception):
    """The server in the container has ended by itself."""


class NotServed(Exception):
    """No worker of the container can load the model of the reel. The message is for the caller."""


@dataclass(frozen=True)
class ReelHandler:
    """Makes reels with the server in the container. An answer encloses at most `max_inline_bytes` of video."""

    server: OwnServer
    max_inline_bytes: int = answers.MAX_INLINE_BYTES

    async def answer(self, body: Any, request_id: str, report: Report) -> Answer:
        """Makes one reel, and returns the answer. A cancelled call cancels the reel.

        `body`: the body of a POST /v1/reels. `request_id` is in every log line. `report` is never called after the end.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_raise_when_ended(self.server))
                answer = await self._try(body, request_id, report)
                watching.cancel()
        except* ServerEnded:
            answer = answers.server_unavailable("The server in this container has ended. Its log says why.")
        return answer

    async def _try(self, body: Any, request_id: str, report: Report) -> Answer:
        url = self.server.url
        try:
            async with (
                AsyncPhoenix(url, retry_policy=RETRY_POLICY) as phoenix,
                httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http,
            ):
                submission = asyncio.create_task(_submit(http, body, request_id))
                return await self._make(phoenix, http, submission, report)
        except PhoenixProblem as problem:
            return answers.refused(problem)
        except (PhoenixUnreachable, httpx.TransportError) as error:
            return answers.server_unavailable(f"The server in this container does not answer: {error}")

    async def _make(
        self, phoenix: AsyncPhoenix, http: httpx.AsyncClient, submission: asyncio.Task[Job], report: Report
    ) -> Answer:
        try:
            # Shielded: a cancelled request could leave a reel whose id nobody knows.
            job = await asyncio.shield(submission)
            answer = await self._find(http, await _follow(phoenix, job, report))
        except NotServed as reason:
            await self._cancel(phoenix, submission)
            return answers.not_served((await submission).id, str(reason))
        except asyncio.CancelledError:
            await self._cancel(phoenix, submission)
            raise
        if "url" not in answer.get("video", {}):
            # Nobody needs the files again, and the disk of a warm container would fill up.
            with suppress(PhoenixClientError):
                await phoenix.delete(job.id)
        return answer

    async def _cancel(self, phoenix: AsyncPhoenix, submission: asyncio.Task[Job]) -> None:
        if self.server.has_ended:
            submission.cancel()
            return
        with suppress(PhoenixClientError, httpx.TransportError, TimeoutError):
            async with asyncio.timeout(CANCEL_WITHIN_S):
                await phoenix.cancel((await submission).id)

    async def _find(self, http: httpx.AsyncClient, job: Job) -> Answer:
        if job.state is not JobState.SUCCEEDED or job.output is None:
            return answers.not_made(job)
        async with http.stream("GET", f"/v1/jobs/{job.id}/content") as response:
            # A store that can sign links redirects to a link. Every other store sends the file.
            if response.has_redirect_location:
                return answers.linked(job, job.output, response.headers["location"])
            if not response.is_success:
                await response.aread()
                raise problem_from(response)
            if job.output.size_bytes > self.max_inline_bytes:
                return answers.too_large(job, job.output, self.max_inline_bytes)
            return answers.enclosed(job, job.output, await response.aread())


async def _raise_when_ended(server: OwnServer) -> None:
    # Without this check a broken stream would be retried for minutes on a paid machine.
    while not server.has_ended:  # noqa: ASYNC110 - the end of a process sets no event
        await asyncio.sleep(LOOK_EVERY_S)
    raise ServerEnded


async def _submit(http: httpx.AsyncClient, body: Any, request_id: str) -> Job:
    response = await http.post("/v1/reels", json=body, headers={"X-Request-ID": request_id})
    if not response.is_success:
        raise problem_from(response)
    return Job.model_validate_json(response.content)


async def _follow(phoenix: AsyncPhoenix, job: Job, report: Report) -> Job:
    throttle = Throttle(REPORT_EVERY_S)
    async with aclosing(phoenix.watch(job.id)) as events:
        async for event in events:
            if isinstance(event, JobQueueMoved) and await _waits_in_vain(phoenix, job):
                raise NotServed(f"No worker serves the model {job.model}.")
            progress = find_progress(event)
            if progress and throttle.admits(time.monotonic()):
                await report(progress)
    return await phoenix.get_job(job.id)


async def _waits_in_vain(phoenix: AsyncPhoenix, job: Job) -> bool:
    """Whether no worker of this container serves the model of the job. No other worker will join the container."""
    if any(model.id == job.model and model.is_served for model in await phoenix.models()):
        return False
    return any(queue.waiting and queue.slots for queue in (await phoenix.queue()).queues)
