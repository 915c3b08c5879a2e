"""Fans events out to the streams of one process: one subscription per topic, and one heartbeat for all streams."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

from phoenix.async_tasks import in_background
from phoenix.errors import Unavailable
from phoenix.events.fanout.client_buffer import ClientBuffer, CloseReason, EventBuffer
from phoenix.events.log_interface import EventLog
from phoenix.events.messages import EncodedEvent, decode, decode_owner_message
from phoenix.events.progress_cache import LocalProgressCache
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.subscriber import PubSubSubscriber
from phoenix.settings import EventSettings
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger


@dataclass(frozen=True)
class JobTopic:
    """The events of one job."""

    job_id: str

    def channel(self, channels: Channels) -> str:
        return channels.job(self.job_id)

    def decode(self, message: bytes) -> EncodedEvent:
        """Raises `ValueError` for what is not an event."""
        return decode(message)


@dataclass(frozen=True)
class OwnerTopic:
    """The events of all jobs of one owner."""

    owner_id: str

    def channel(self, channels: Channels) -> str:
        return channels.owner(self.owner_id)

    def decode(self, message: bytes) -> EncodedEvent:
        """Raises `ValueError` for what is not an event."""
        return decode_owner_message(message, self.owner_id)


Topic = JobTopic | OwnerTopic


BROADCAST_CHUNK = 200
"""Clients served per turn of the event loop: five thousand clients in one turn would block the loop for 0.1 s."""


Credential = tuple[str, str]
"""Id of the key that opened a stream, and id of its secret that was presented."""


class ConnectedClient:
    """One client: its topic, its buffer, and its position. The stream keeps the position up to date."""

    __slots__ = ("buffer", "credential", "sent_seq", "topic")

    def __init__(self, topic: Topic, buffer: ClientBuffer, credential: Credential | None = None) -> None:
        self.topic = topic
        self.buffer = buffer
        self.credential = credential
        self.sent_seq: int | None = None
        """Number of the last event sent, in the log of the job or of the owner; None before the first bytes."""

    def is_behind(self, last_seq: int) -> bool:
        """Whether the client lacks events. False before its first bytes, since it will read the log then."""
        return self.sent_seq is not None and last_seq > self.sent_seq


class TopicClients(set[ConnectedClient]):
    """The clients of one topic.

    A broadcast to many clients is cut into chunks. Events that arrive during a broadcast wait in a shared buffer.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._event_buffer = EventBuffer(capacity)
        self._is_broadcasting = False

    def broadcast(self, encoded: EncodedEvent) -> None:
        """Puts the event into the buffer of every client, now or in the next turns of the event loop."""
        if self._is_broadcasting or len(self) > BROADCAST_CHUNK:
            self._event_buffer.put(encoded)
            if not self._is_broadcasting:
                self._start_broadcast()
        else:
            for client in self:
                client.buffer.put(encoded)

    def _start_broadcast(self) -> None:
        self._is_broadcasting = bool(self._event_buffer)
        if self._is_broadcasting:
            events, needs_resync = self._event_buffer.take()
            # A client that connects during a broadcast reads the log afterwards, and finds the events there.
            self._broadcast_chunk(iter(list(self)), events, needs_resync)

    def _broadcast_chunk(
        self, remaining: Iterator[ConnectedClient], events: list[EncodedEvent], needs_resync: bool
    ) -> None:
        chunk = list(islice(remaining, BROADCAST_CHUNK))
        for client in chunk:
            for encoded in events:
                client.buffer.put(encoded)
            if needs_resync:
                client.buffer.request_resync()
        loop = asyncio.get_running_loop()
        if len(chunk) == BROADCAST_CHUNK:
            loop.call_soon(self._broadcast_chunk, remaining, events, needs_resync)
        else:
            loop.call_soon(self._start_broadcast)


_logger = get_logger(__name__)

FindInvalid = Callable[[Collection[Credential]], Awaitable[Collection[Credential]]]
"""Returns the credentials whose key was revoked, or whose secret ended."""


class Hub:
    """Passes published events to the streams of this process. There is one hub per API process.

    Use it as a context manager: `async with Hub(subscriber, log, prefix=…, settings=…) as hub`. The end of the block
    closes every stream, and clients reconnect at different times.
    """

    def __init__(
        self,
        subscriber: PubSubSubscriber,
        log: EventLog,
        *,
        prefix: str,
        settings: EventSettings,
        local_progress: LocalProgressCache | None = None,
        find_invalid: FindInvalid | None = None,
    ) -> None:
        self.settings = settings
        self._subscriber = subscriber
        self._log = log
        self._channels = Channels(prefix)
        self._local_progress = local_progress or LocalProgressCache()
        self._find_invalid = find_invalid
        self._clients: dict[Topic, TopicClients] = {}
        self._topics: dict[str, Topic] = {}
        self._check_now = asyncio.Event()
        self._missed_checks = FailureEpisode(
            _logger, "the heads of the log were not read in time", "the heads of the log are read again"
        )
        self._background = AsyncExitStack()
        self._is_closing = False
        self.delivered_events = 0
        """How many events all streams have sent, counted once for each client."""

    def count_events(self, chunk: bytes) -> bytes:
        """Counts the events of a chunk that is about to be sent, and returns the chunk."""
        # Each event has one line of data, and JSON has no line breaks.
        self.delivered_events += chunk.count(b"\ndata: ")
        return chunk

    async def __aenter__(self) -> Self:
        self._subscriber.add_on_reconnect(self._check_now.set)
        for work, name in (
            (self._send_heartbeats(), "events-heartbeat"),
            (self._check_for_missed_events(), "events-head-check"),
        ):
            await self._background.enter_async_context(in_background(work, name=name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_streams()
        self._subscriber.remove_on_reconnect(self._check_now.set)
        await self._background.aclose()

    @property
    def streams(self) -> int:
        """Number of connected clients."""
        return sum(len(clients) for clients in self._clients.values())

    def check_now(self) -> None:
        """Looks at once, and not only at the next heartbeat, for missed events and for credentials that ended."""
        self._check_now.set()

    def close_streams(self) -> None:
        """Ends every stream, present and future, after the events that it already has."""
        self._is_closing = True
        for client in self._all_clients():
            client.buffer.close(CloseReason.SHUTDOWN)

    @asynccontextmanager
    async def connect(self, topic: Topic, credential: Credential | None = None) -> AsyncGenerator[ConnectedClient]:
        """Adds a client of the topic for the block, which begins once Redis has acknowledged the subscription.

        The block also begins if Redis is away or slow: the client then follows the log. The stream ends with its
        `credential`; None where no key is needed.
        """
        client = ConnectedClient(topic, ClientBuffer(self.settings.client_buffer_size), credential)
        if self._is_closing:
            client.buffer.close(CloseReason.SHUTDOWN)
        channel = topic.channel(self._channels)
        self._topics[channel] = topic
        self._clients.setdefault(topic, TopicClients(self.settings.client_buffer_size)).add(client)
        try:
            await self._subscriber.subscribe(channel, self._on_message)
            try:
                yield client
            finally:
                self._subscriber.unsubscribe(channel, self._on_message)
        finally:
            self._disconnect(client, channel)

    def _disconnect(self, client: ConnectedClient, channel: str) -> None:
        clients = self._clients[client.topic]
        clients.discard(client)
        if not clients:
            del self._clients[client.topic], self._topics[channel]

    def _on_message(self, channel: str, message: bytes) -> None:
        topic = self._topics[channel]
        try:
            encoded = topic.decode(message)
        except ValueError as error:
            _logger.warning("not an event", channel=channel, error=str(error))
            return
        self._local_progress.update(encoded.event)
        self._clients[topic].broadcast(encoded)

    def _all_clients(self) -> Iterator[ConnectedClient]:
        return (client for clients in list(self._clients.values()) for client in list(clients))

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_s)
            self._check_now.set()
            everyone = self._all_clients()
            while chunk := list(islice(everyone, BROADCAST_CHUNK)):
                for client in chunk:
                    client.buffer.put_heartbeat()
                await asyncio.sleep(0)

    async def _check_for_missed_events(self) -> None:
        """Compares the position of every client with the log at each heartbeat, and after each outage of Redis."""
        while True:
            await self._check_now.wait()
            self._check_now.clear()
            try:
                async with asyncio.timeout(self.settings.heartbeat_s):
                    await self._check_jobs()
                    await self._check_owners()
                    await self._check_credentials()
            except Exception as error:  # noqa: BLE001 - the failure episode logs it
                # The database may be slow or away for a while: streams stay open, and the next heartbeat checks again.
                is_expected = isinstance(error, TimeoutError | Unavailable)
                self._missed_checks.fail(error, is_unexpected=not is_expected, limit_s=self.settings.heartbeat_s)
            else:
                self._missed_checks.end()

    async def _check_jobs(self) -> None:
        topics = [topic for topic in self._clients if isinstance(topic, JobTopic)]
        if not topics:
            return
        heads = await self._log.heads([topic.job_id for topic in topics])
        for topic in topics:
            head = heads.get(topic.job_id)
            for client in self._clients.get(topic, ()):
                if head is None:
                    client.buffer.close(CloseReason.JOB_GONE)
                elif client.is_behind(head.last_seq):
                    client.buffer.request_resync()

    async def _check_owners(self) -> None:
        topics = [topic for topic in self._clients if isinstance(topic, OwnerTopic)]
        if not topics:
            return
        heads = await self._log.owner_heads([topic.owner_id for topic in topics])
        for topic in topics:
            for client in self._clients.get(topic, ()):
                if client.is_behind(heads.get(topic.owner_id, 0)):
                    client.buffer.request_resync()

    async def _check_credentials(self) -> None:
        """Ends the streams whose key or secret is not valid any more; the API refuses them when they reconnect."""
        presented = {client.credential for client in self._all_clients() if client.credential}
        invalid = await self._find_invalid(presented) if self._find_invalid and presented else ()
        for client in self._all_clients() if invalid else ():
            if client.credential in invalid:
                client.buffer.close(CloseReason.KEY_REVOKED)
