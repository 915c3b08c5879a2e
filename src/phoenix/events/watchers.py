"""The clients of this process that follow one topic, and the rounds in which they are served."""

import asyncio
from collections.abc import Iterator
from itertools import islice

from phoenix.events.backlog import Backlog
from phoenix.events.encoding import EncodedEvent
from phoenix.events.mailbox import Mailbox
from phoenix.events.topics import Topic

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
