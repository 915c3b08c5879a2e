"""Follows one job's event stream across dropped connections, without a gap and without a repeated durable event."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import ValidationError

from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable
from phoenix.client.transport import RetryPolicy, Transport, Tries, unreachable
from phoenix.contract.events import (
    TERMINAL_EVENT_TYPES,
    ClipPreview,
    ClipProgress,
    DurableEvent,
    EphemeralEvent,
    JobEvent,
    JobQueueMoved,
    JobSnapshot,
)

Event = DurableEvent | EphemeralEvent
"""What a stream yields, told apart by `type` or by class."""

WATCH_RETRY_POLICY = RetryPolicy(attempts=20, first_delay_s=1, longest_delay_s=30)
"""About nine minutes without a response: a redeploy takes less."""

# The server sends a comment on an idle stream about every 10 s; a connection silent for longer is dead.
READ_TIMEOUT_S = 45


class Watch:
    """Remembers what has been seen of one job's stream, so that the next connection resumes there."""

    def __init__(self, transport: Transport, job_id: str, retry_policy: RetryPolicy = WATCH_RETRY_POLICY) -> None:
        self._transport = transport
        self._path = f"/v1/jobs/{quote(job_id, safe='')}/events"
        self._tries = Tries(retry_policy)
        self._resume_id: str | None = None
        self._newest_seq = 0
        self._is_over = False

    async def events(self) -> AsyncGenerator[Event]:
        """Yields until the terminal event. Raises `PhoenixProblem` or `PhoenixUnreachable` once it gives up."""
        while not self._is_over:
            # A stream that ends before its job does was rotated or drained: the server expects a reconnection.
            failure: PhoenixProblem | PhoenixUnreachable = PhoenixUnreachable("the stream ended before the job did")
            try:
                async with aclosing(self._one_connection()) as events:
                    async for event in events:
                        yield event
            except (PhoenixProblem, PhoenixUnreachable) as error:
                failure = error
            if not self._is_over:
                await self._tries.wait_after(failure)

    async def _one_connection(self) -> AsyncGenerator[Event]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._resume_id:
            headers["Last-Event-ID"] = self._resume_id
        async with self._transport.stream(self._path, headers=headers, read_timeout_s=READ_TIMEOUT_S) as response:
            self._is_over = response.status_code == HTTPStatus.NO_CONTENT
            if self._is_over:
                return
            async with aclosing(_parts(response, self._transport.base_url)) as parts:
                async for part in parts:
                    self._note_retry(part)
                    if event := self._accept(part):
                        yield event
                    if self._is_over:
                        return

    def _note_retry(self, part: ServerSentEvent) -> None:
        if part.retry is not None:
            delay_s = min(part.retry / 1000, self._tries.retry_policy.longest_delay_s)
            self._tries.retry_policy = replace(self._tries.retry_policy, first_delay_s=delay_s)

    def _accept(self, part: ServerSentEvent) -> Event | None:
        """The event to yield; None if it was yielded before, or is of a type that this version does not know."""
        event = _parse(part.data)
        if event is None:
            return None
        self._tries.progressed()
        if isinstance(event, JobSnapshot):
            self._note_snapshot(event)
        elif not isinstance(event, ClipProgress | ClipPreview | JobQueueMoved):
            if event.seq <= self._newest_seq:
                return None
            self._newest_seq = event.seq
            self._resume_id = part.id or str(event.seq)
            self._is_over = event.type in TERMINAL_EVENT_TYPES
        return event

    def _note_snapshot(self, snapshot: JobSnapshot) -> None:
        # A database restored from a backup may be behind what was seen here; the database is right.
        self._newest_seq = min(self._newest_seq, snapshot.seq)
        # Resuming after a finished job's last number would be answered with 204, and its terminal event missed.
        self._resume_id = None if snapshot.job.state.is_terminal else str(snapshot.seq)


async def _parts(response: httpx.Response, base_url: str) -> AsyncGenerator[ServerSentEvent]:
    try:
        async with aclosing(EventSource(response).aiter_sse()) as parts:
            async for part in parts:
                yield part
    except SSEError as error:
        # Not an event stream: a proxy's page, with status 200.
        raise unreachable(base_url, error) from error


def _parse(data: str) -> Event | None:
    """None for an empty part (httpx-sse yields one for a lone `retry:`) and for a type newer than this version."""
    if not data:
        return None
    try:
        return JobEvent.model_validate_json(data).root
    except ValidationError as error:
        if any(fault["type"] == "union_tag_invalid" for fault in error.errors()):
            return None
        raise
