"""Fans events out to the streams of one process: one subscription per watched topic, one heartbeat for all."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import islice
from types import TracebackType
from typing import Self

from phoenix.events.channels import Channels
from phoenix.events.line import Line
from phoenix.events.log import EventLog
from phoenix.events.mailbox import Closing, Mailbox
from phoenix.events.recollection import Recollection
from phoenix.events.topics import JobTopic, OwnerTopic, Topic
from phoenix.events.watchers import PER_TURN, Watcher, Watchers
from phoenix.settings import EventSettings
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

FindRevoked = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Finds the owners among these whose key was revoked."""


class Hub:
    """One per API process, entered for its life (`async with Hub(line, log, prefix=…, settings=…) as hub`).

    Leaving it closes every stream; clients are told to reconnect at different times.
    """

    def __init__(
        self,
        line: Line,
        log: EventLog,
        *,
        prefix: str,
        settings: EventSettings,
        recollection: Recollection | None = None,
        find_revoked: FindRevoked | None = None,
    ) -> None:
        self.settings = settings
        self._line = line
        self._log = log
        self._channels = Channels(prefix)
        self._recollection = recollection or Recollection()
        self._find_revoked = find_revoked
        self._watchers: dict[Topic, Watchers] = {}
        self._topics: dict[str, Topic] = {}
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
        """Ends every stream, and those that start from now on, after what they are sending."""
        self._is_closing = True
        for watcher in self._everyone():
            watcher.mailbox.close(Closing.SHUTDOWN)

    @asynccontextmanager
    async def watch(self, topic: Topic) -> AsyncGenerator[Watcher]:
        """A watcher of the topic. The block begins once Redis has acknowledged the subscription (or is away)."""
        watcher = Watcher(topic, Mailbox(self.settings.client_queue_size))
        if self._is_closing:
            watcher.mailbox.close(Closing.SHUTDOWN)
        channel = topic.channel(self._channels)
        self._topics[channel] = topic
        self._watchers.setdefault(topic, Watchers(self.settings.client_queue_size)).add(watcher)
        try:
            await self._line.listen(channel, self._on_message)
            try:
                yield watcher
            finally:
                self._line.leave(channel, self._on_message)
        finally:
            self._forget(watcher, channel)

    def _forget(self, watcher: Watcher, channel: str) -> None:
        watchers = self._watchers[watcher.topic]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[watcher.topic], self._topics[channel]

    def _on_message(self, channel: str, message: bytes) -> None:
        topic = self._topics[channel]
        try:
            encoded = topic.decode(message)
        except ValueError as error:
            _logger.warning("not an event", channel=channel, error=str(error))
            return
        self._recollection.note(encoded.event)
        self._watchers[topic].tell(encoded)

    def _everyone(self) -> Iterator[Watcher]:
        return (watcher for watchers in list(self._watchers.values()) for watcher in list(watchers))

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_s)
            self._check_now.set()
            everyone = self._everyone()
            while some := list(islice(everyone, PER_TURN)):
                for watcher in some:
                    watcher.mailbox.beat()
                await asyncio.sleep(0)

    async def _check_forever(self) -> None:
        """Compares streams with the log at each heartbeat, and after each outage of Redis."""
        while True:
            await self._check_now.wait()
            self._check_now.clear()
            try:
                async with asyncio.timeout(self.settings.heartbeat_s):
                    await self._check_jobs()
                    await self._check_owners()
            except TimeoutError:
                # A busy machine or a slow database: the next heartbeat checks the rest.
                _logger.warning("the tails of the log were not read in time", limit_s=self.settings.heartbeat_s)
            except Exception:
                # The database may be away for a while: streams stay open, and the next heartbeat asks again.
                _logger.exception("could not read the tails of the log")

    async def _check_jobs(self) -> None:
        topics = [topic for topic in self._watchers if isinstance(topic, JobTopic)]
        if not topics:
            return
        tails = await self._log.tails([topic.job_id for topic in topics])
        for topic in topics:
            tail = tails.get(topic.job_id)
            for watcher in self._watchers.get(topic, ()):
                if tail is None:
                    watcher.mailbox.close(Closing.JOB_GONE)
                elif watcher.is_behind(tail.last_seq):
                    watcher.mailbox.ask_for_refill()
        await self._check_keys({topic: tails[topic.job_id].owner_id for topic in topics if topic.job_id in tails})

    async def _check_owners(self) -> None:
        topics = [topic for topic in self._watchers if isinstance(topic, OwnerTopic)]
        if not topics:
            return
        tails = await self._log.owner_tails([topic.owner_id for topic in topics])
        for topic in topics:
            for watcher in self._watchers.get(topic, ()):
                if watcher.is_behind(tails.get(topic.owner_id, 0)):
                    watcher.mailbox.ask_for_refill()
        await self._check_keys({topic: topic.owner_id for topic in topics})

    async def _check_keys(self, owners: Mapping[Topic, str]) -> None:
        """Ends the streams of owners whose key was revoked since; when they reconnect they are refused."""
        revoked = await self._find_revoked(set(owners.values())) if self._find_revoked and owners else ()
        for topic in (topic for topic, owner_id in owners.items() if owner_id in revoked):
            for watcher in self._watchers.get(topic, ()):
                watcher.mailbox.close(Closing.KEY_REVOKED)
