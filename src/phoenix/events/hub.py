"""Fans events out to the streams of one process: one subscription per watched job, one heartbeat for all."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from types import TracebackType
from typing import Self

from phoenix.events.channels import Channels
from phoenix.events.doorbell import decode
from phoenix.events.line import Line
from phoenix.events.log import EventLog, Tail
from phoenix.events.mailbox import Closing, Mailbox
from phoenix.settings import EventSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)
# Clients woken before others get a turn: five thousand at once would hold the event loop for 0.2 s.
_BEATS_PER_TURN = 200


class Watcher:
    """One client of one job: its mailbox, and how far it has got, which the stream keeps up to date."""

    def __init__(self, job_id: str, mailbox: Mailbox) -> None:
        self.job_id = job_id
        self.mailbox = mailbox
        self.sent_seq = 0


class Hub:
    """One per API process, entered for its life (`async with Hub(line, log, prefix=…, settings=…) as hub`).

    Leaving it closes every stream; their clients are told to come back at times that differ.
    """

    def __init__(self, line: Line, log: EventLog, *, prefix: str, settings: EventSettings) -> None:
        self.settings = settings
        self._line = line
        self._log = log
        self._channels = Channels(prefix)
        self._watchers: dict[str, set[Watcher]] = {}
        self._check_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._line.on_gap(self._check_now.set)
        self._tasks = [
            asyncio.create_task(self._beat_forever(), name="events-heartbeat"),
            asyncio.create_task(self._check_forever(), name="events-tail-check"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_streams()
        self._line.leave_gap(self._check_now.set)
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def streams(self) -> int:
        """Clients connected now."""
        return sum(len(watchers) for watchers in self._watchers.values())

    def close_streams(self) -> None:
        """Ends every stream, and those that come from now on, after what they are sending."""
        self._is_closing = True
        for watcher in self._everyone():
            watcher.mailbox.close(Closing.SHUTDOWN)

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncGenerator[Watcher]:
        """A watcher of the job, entered once Redis has acknowledged the subscription (or is away)."""
        watcher = Watcher(job_id, Mailbox(self.settings.client_queue_size))
        if self._is_closing:
            watcher.mailbox.close(Closing.SHUTDOWN)
        channel = self._channels.job(job_id)
        self._watchers.setdefault(job_id, set()).add(watcher)
        try:
            await self._line.listen(channel, self._on_message)
            try:
                yield watcher
            finally:
                self._line.leave(channel, self._on_message)
        finally:
            self._forget(watcher)

    def _forget(self, watcher: Watcher) -> None:
        watchers = self._watchers[watcher.job_id]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[watcher.job_id]

    def _on_message(self, channel: str, message: bytes) -> None:
        try:
            encoded = decode(message)
        except ValueError as error:
            _logger.warning("not an event", channel=channel, error=str(error))
            return
        for watcher in self._watchers.get(encoded.job_id, ()):
            watcher.mailbox.put(encoded)

    def _everyone(self) -> Iterator[Watcher]:
        return (watcher for watchers in list(self._watchers.values()) for watcher in list(watchers))

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_s)
            self._check_now.set()
            everyone = self._everyone()
            while some := list(islice(everyone, _BEATS_PER_TURN)):
                for watcher in some:
                    watcher.mailbox.beat()
                await asyncio.sleep(0)

    async def _check_forever(self) -> None:
        """Compares streams with the log at each heartbeat, and when the line is up again after an outage."""
        while True:
            await self._check_now.wait()
            self._check_now.clear()
            try:
                async with asyncio.timeout(self.settings.heartbeat_s):
                    await self._check_tails()
            except Exception:
                # The database may be away for a while: streams stay open, and the next heartbeat asks again.
                _logger.exception("could not read the tails of the log")

    async def _check_tails(self) -> None:
        job_ids = list(self._watchers)
        if not job_ids:
            return
        tails = await self._log.tails(job_ids)
        for job_id in job_ids:
            for watcher in self._watchers.get(job_id, ()):
                _compare(watcher, tails.get(job_id))


def _compare(watcher: Watcher, tail: Tail | None) -> None:
    if tail is None:
        watcher.mailbox.close(Closing.JOB_GONE)
    elif tail.last_seq > watcher.sent_seq:
        watcher.mailbox.ask_for_refill()
