"""Writes storyboards in the background of one API process, for as long as somebody follows.

A writing ends when its last follower has left: a language model costs money or a GPU. What it was asked stays stored.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from phoenix.contract import (
    Storyboard,
    StoryboardDelta,
    StoryboardError,
    StoryboardErrorCode,
    StoryboardFailed,
    StoryboardWritten,
)
from phoenix.db import Database
from phoenix.errors import PhoenixError
from phoenix.storyboards.llm import WritingFailed
from phoenix.storyboards.llm_planner import LlmPlanner, Talk, WrittenReel
from phoenix.storyboards.repository import Ticket, fail_writing, find_written, finish_writing, view_storyboard
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

WritingEvent = StoryboardDelta | StoryboardWritten | StoryboardFailed
_CANCELED = "It was canceled, because nobody waited for it any more or the server stopped. Try again."
_BUFFERED = 4096
"""Parts of text that wait for one follower. Further parts are lost to it: it reads the storyboard at the end."""


class Writing:
    """One storyboard that is being written, and who follows it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.is_closed = False
        self._followers: set[asyncio.Queue[WritingEvent | None]] = set()
        self._so_far: StoryboardDelta | None = None

    @contextmanager
    def follow(self) -> Generator["asyncio.Queue[WritingEvent | None]"]:
        """The text so far, then the events; None is the end. The writing is canceled when the last follower leaves."""
        queue: asyncio.Queue[WritingEvent | None] = asyncio.Queue()
        if self._so_far is not None:
            queue.put_nowait(self._so_far)
        if self.is_closed:
            queue.put_nowait(None)
        self._followers.add(queue)
        try:
            yield queue
        finally:
            self._followers.discard(queue)
            if not self._followers and self.task is not None:
                self.task.cancel()

    def publish(self, event: WritingEvent) -> None:
        if isinstance(event, StoryboardDelta):
            is_next = self._so_far is not None and self._so_far.attempt == event.attempt
            text = (self._so_far.text if self._so_far and is_next else "") + event.text
            self._so_far = event.model_copy(update={"text": text})
        for queue in self._followers:
            if queue.qsize() < _BUFFERED or not isinstance(event, StoryboardDelta):
                queue.put_nowait(event)

    def close(self) -> None:
        self.is_closed = True
        for queue in self._followers:
            queue.put_nowait(None)


class StoryboardWriter:
    """The writings of this process. Enter `running` while the process serves."""

    def __init__(self, database: Database, planner: LlmPlanner) -> None:
        self._database = database
        self._planner = planner
        self._writings: dict[str, Writing] = {}

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["StoryboardWriter"]:
        """Cancels at the end what is still being written. It can be tried again then."""
        try:
            yield self
        finally:
            tasks = [writing.task for writing in self._writings.values() if writing.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def find(self, storyboard_id: str) -> Writing | None:
        """The writing of a storyboard in this process."""
        return self._writings.get(storyboard_id)

    def begin(self, ticket: Ticket, talk: Talk) -> Writing:
        """Begins to write. Follow the writing at once: it continues only for its followers."""
        writing = Writing()
        self._writings[ticket.storyboard_id] = writing
        writing.task = asyncio.create_task(self._write(writing, ticket, talk), name=f"write-{ticket.storyboard_id}")
        return writing

    def cancel(self, storyboard_id: str) -> None:
        """Ends the writing of a storyboard that was deleted."""
        writing = self._writings.get(storyboard_id)
        if writing is not None and writing.task is not None:
            writing.task.cancel()

    async def _write(self, writing: Writing, ticket: Ticket, talk: Talk) -> None:
        try:
            ended = await self._planned(writing, ticket, talk)
        except asyncio.CancelledError:
            error = _error(StoryboardErrorCode.CANCELED, _CANCELED)
            # A second cancellation of the writing must not interrupt this.
            with suppress(PhoenixError):
                await asyncio.shield(self._store(ticket, error))
            raise
        else:
            if ended is not None:
                writing.publish(ended)
        finally:
            if self._writings.get(ticket.storyboard_id) is writing:
                del self._writings[ticket.storyboard_id]
            writing.close()

    async def _planned(self, writing: Writing, ticket: Ticket, talk: Talk) -> WritingEvent | None:
        def publish(attempt: int, text: str) -> None:
            writing.publish(StoryboardDelta(storyboard_id=ticket.storyboard_id, attempt=attempt, text=text))

        try:
            result: WrittenReel | StoryboardError = await self._planner.write(talk, publish)
        except WritingFailed as failed:
            result = StoryboardError(code=failed.code, message=failed.detail, retriable=failed.retriable)
        except Exception:
            _logger.exception("a storyboard could not be written", storyboard_id=ticket.storyboard_id)
            result = _error(StoryboardErrorCode.UNAVAILABLE, "Something went wrong here. Try again.")
        try:
            stored = await self._store(ticket, result)
        except PhoenixError as error:
            # The storyboard counts as lost after a while, and can be tried again then.
            _logger.warning("a storyboard could not be stored", storyboard_id=ticket.storyboard_id, error=error.detail)
            return None
        if stored is None:
            return None
        kind = StoryboardFailed if isinstance(result, StoryboardError) else StoryboardWritten
        return kind(storyboard_id=stored.id, storyboard=stored)

    async def _store(self, ticket: Ticket, result: WrittenReel | StoryboardError) -> Storyboard | None:
        """Stores the result, and returns the storyboard with it. None if it was deleted meanwhile."""
        async with self._database.write() as uow:
            row = await find_written(uow, ticket)
            if row is None:
                return None
            if isinstance(result, StoryboardError):
                await fail_writing(uow, row, result)
            else:
                await finish_writing(uow, row, result)
            stored = view_storyboard(row, await uow.now())
        event = "a storyboard was written" if stored.error is None else "a storyboard was not written"
        code = stored.error.code.value if stored.error else None
        _logger.info(event, storyboard_id=stored.id, revision=stored.revision, code=code)
        return stored


def _error(code: StoryboardErrorCode, message: str) -> StoryboardError:
    return StoryboardError(code=code, message=message, retriable=True)
