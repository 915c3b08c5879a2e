"""Follows the event stream of one job across broken connections. Durable events arrive once and without a gap."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable
from phoenix.client.event_stream import Message, NotAStream, read_messages
from phoenix.client.transport import RetryPolicy, RetryState, Transport, unreachable
from phoenix.contract import (
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
"""An event of a stream. Its `type` and its class say which event it is."""

WATCH_RETRY_POLICY = RetryPolicy(attempts=20, first_delay_s=1, longest_delay_s=30)
"""About nine minutes without a response, which is longer than a redeploy."""

# The server sends a comment on an idle stream about every 10 s. A silent connection is dead.
READ_TIMEOUT_S = 45


class JobFollower:
    """Remembers the last event of the stream of one job, so that the next connection resumes after it."""

    def __init__(
        self,
        transport: Transport,
        job_id: str,
        retry_policy: RetryPolicy = WATCH_RETRY_POLICY,
        *,
        owner: str | None = None,
    ) -> None:
        """`owner`: the key that owns the job, or `all`, if the caller does not."""
        self._transport = transport
        query = "" if owner is None else f"?owner={quote(owner, safe='')}"
        self._path = f"/v1/jobs/{quote(job_id, safe='')}/events{query}"
        self._retries = RetryState(retry_policy)
        self._resume_id: str | None = None
        self._newest_seq = 0
        self._is_over = False

    async def events(self) -> AsyncGenerator[Event]:
        """Yields events up to the terminal event. Raises `PhoenixProblem` or `PhoenixUnreachable` when it gives up."""
        while not self._is_over:
            # A stream that ends before its job was rotated or drained. The server expects a new connection.
            failure: PhoenixProblem | PhoenixUnreachable = PhoenixUnreachable("the stream ended before the job did")
            try:
                async with aclosing(self._one_connection()) as events:
                    async for event in events:
                        yield event
            except (PhoenixProblem, PhoenixUnreachable) as error:
                failure = error
            if not self._is_over:
                await self._retries.wait_after(failure)

    async def _one_connection(self) -> AsyncGenerator[Event]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._resume_id:
            headers["Last-Event-ID"] = self._resume_id
        async with self._transport.stream(self._path, headers=headers, read_timeout_s=READ_TIMEOUT_S) as response:
            self._is_over = response.status_code == HTTPStatus.NO_CONTENT
            if self._is_over:
                return
            async with aclosing(_messages(response, self._transport.base_url)) as messages:
                async for message in messages:
                    self._apply_retry_delay(message)
                    if event := self._accept(message):
                        yield event
                    if self._is_over:
                        return

    def _apply_retry_delay(self, message: Message) -> None:
        if message.retry_ms is not None:
            delay_s = min(message.retry_ms / 1000, self._retries.retry_policy.longest_delay_s)
            self._retries.retry_policy = replace(self._retries.retry_policy, first_delay_s=delay_s)

    def _accept(self, message: Message) -> Event | None:
        """The event to yield. None for a repeated event, and for a type that this version does not know."""
        event = _parse(message.data)
        if event is None:
            return None
        self._retries.reset()
        if isinstance(event, JobSnapshot):
            self._apply_snapshot(event)
        elif not isinstance(event, ClipProgress | ClipPreview | JobQueueMoved):
            if event.seq <= self._newest_seq:
                return None
            self._newest_seq = event.seq
            self._resume_id = message.id or str(event.seq)
            self._is_over = event.type in TERMINAL_EVENT_TYPES
        return event

    def _apply_snapshot(self, snapshot: JobSnapshot) -> None:
        # A database restored from a backup may be behind the events seen here. The database is right.
        self._newest_seq = min(self._newest_seq, snapshot.seq)
        # After the last number of an ended job the server would answer 204, and the terminal event would be missed.
        self._resume_id = None if snapshot.job.state.is_terminal else str(snapshot.seq)


async def _messages(response: httpx.Response, base_url: str) -> AsyncGenerator[Message]:
    try:
        async with aclosing(read_messages(response)) as messages:
            async for message in messages:
                yield message
    except NotAStream as error:
        # A proxy has sent a page with status 200 instead of an event stream.
        raise unreachable(base_url, error) from error


def _parse(data: str) -> Event | None:
    """The event in a message. None for an empty message (a lone `retry:`) and for a type newer than this version."""
    if not data:
        return None
    try:
        return JobEvent.model_validate_json(data).root
    except ValidationError as error:
        if any(item["type"] == "union_tag_invalid" for item in error.errors()):
            return None
        raise
