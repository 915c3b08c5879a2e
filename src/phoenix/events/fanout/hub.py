"""Fans events out to the streams of one process: one subscription per watched topic, one heartbeat for all."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

from phoenix.events.fanout.client_buffer import Backlog, Closing, Mailbox
from phoenix.events.log.protocol import EventLog
from phoenix.events.messages import EncodedEvent, decode, decode_owned
from phoenix.events.progress_cache import Recollection
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.subscriber import Line
from phoenix.settings import EventSettings
from phoenix.telemetry.logs import get_logger


@dataclass(frozen=True)
class JobTopic:
    job_id: str

    def channel(self, channels: Channels) -> str:
        return channels.job(self.job_id)

    def decode(self, message: bytes) -> EncodedEvent:
        """Raises `ValueError` for what is not an event."""
        return decode(message)


@dataclass(frozen=True)
class OwnerTopic:
    owner_id: str

    def channel(self, channels: Channels) -> str:
        return channels.owner(self.owner_id)

    def decode(self, message: bytes) -> EncodedEvent:
        """Raises `ValueError` for what is not an event."""
        return decode_owned(message, self.owner_id)


Topic = JobTopic | OwnerTopic


PER_TURN = 200
"""Clients served per turn of the event loop: five thousand at once would block it for 0.1 s."""


class Watcher:
    """One client: its topic, its mailbox, and its position, which the stream keeps up to date."""

    __slots__ = ("mailbox", "sent_seq", "topic")

    def __init__(self, topic: Topic, mailbox: Mailbox) -> None:
        self.topic = topic
        self.mailbox = mailbox
        self.sent_seq: int | None = None
        """The last number sent, of the job or of the owner's log; None before the first bytes."""

    def is_behind(self, last_seq: int) -> bool:
        """Whether it lacks events. One that has not begun will read the log anyway."""
        return self.sent_seq is not None and last_seq > self.sent_seq


class Watchers(set[Watcher]):
    """The watchers of one topic. Many are served in turns; events that arrive meanwhile wait in a shared backlog."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._backlog = Backlog(capacity)
        self._is_busy = False

    def tell(self, encoded: EncodedEvent) -> None:
        if self._is_busy or len(self) > PER_TURN:
            self._backlog.put(encoded)
            if not self._is_busy:
                self._begin_round()
        else:
            for watcher in self:
                watcher.mailbox.put(encoded)

    def _begin_round(self) -> None:
        self._is_busy = bool(self._backlog)
        if self._is_busy:
            events, needs_refill = self._backlog.take()
            # A watcher that joins during a round reads the log later, when it has the events of the round.
            self._take_turn(iter(list(self)), events, needs_refill)

    def _take_turn(self, left: Iterator[Watcher], events: list[EncodedEvent], needs_refill: bool) -> None:
        some = list(islice(left, PER_TURN))
        for watcher in some:
            for encoded in events:
                watcher.mailbox.put(encoded)
            if needs_refill:
                watcher.mailbox.ask_for_refill()
        loop = asyncio.get_running_loop()
        if len(some) == PER_TURN:
            loop.call_soon(self._take_turn, left, events, needs_refill)
        else:
            loop.call_soon(self._begin_round)


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
