"""Follows a storyboard while it is written, so that no connection is silent for as long as a language model takes."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable
from phoenix.client.event_stream import NotAStream, read_messages
from phoenix.client.transport import JsonObject, RetryState, Transport, unreachable
from phoenix.contract import (
    Storyboard,
    StoryboardDelta,
    StoryboardEvent,
    StoryboardFailed,
    StoryboardWritten,
)

READ_TIMEOUT_S = 45
"""The server sends a comment on an idle stream about every 10 s."""

OnText = Callable[[int, str], None]
"""Gets the number of the answer, which is 2 while the language model repairs its first one, and a part of its text."""


def storyboard_path(storyboard_id: str, rest: str = "") -> str:
    return f"/v1/storyboards/{quote(storyboard_id, safe='')}{rest}"


async def write_storyboard(
    transport: Transport,
    path: str,
    body: BaseModel | JsonObject | None,
    *,
    idempotency_key: str | None,
    on_text: OnText | None,
) -> Storyboard:
    """Sends the request until it is answered, and returns the storyboard once nobody writes it any more."""
    headers = {"Accept": "text/event-stream", "Idempotency-Key": idempotency_key or uuid4().hex}
    retries = RetryState(transport.retry_policy)
    while True:
        try:
            return await _follow(transport, path, body, headers, on_text)
        except (PhoenixProblem, PhoenixUnreachable) as error:
            # With its key the request takes effect once: another try finds what the first one has made.
            await retries.wait_after(error)


async def _follow(
    transport: Transport,
    path: str,
    body: BaseModel | JsonObject | None,
    headers: Mapping[str, str],
    on_text: OnText | None,
) -> Storyboard:
    async with transport.stream(
        path, method="POST", body=body, headers=headers, read_timeout_s=READ_TIMEOUT_S
    ) as response:
        try:
            async with aclosing(read_messages(response)) as messages:
                async for message in messages:
                    event = _parse(message.data)
                    if isinstance(event, StoryboardWritten | StoryboardFailed):
                        return event.storyboard
                    if isinstance(event, StoryboardDelta) and on_text is not None:
                        on_text(event.attempt, event.text)
        except NotAStream as error:
            raise unreachable(transport.base_url, error) from error
    raise PhoenixUnreachable("the stream ended before the storyboard was written")


def _parse(data: str) -> object:
    """The event in a message. None for a type that is newer than this version."""
    try:
        return StoryboardEvent.model_validate_json(data).root
    except ValidationError as error:
        if any(item["type"] == "union_tag_invalid" for item in error.errors()):
            return None
        raise
