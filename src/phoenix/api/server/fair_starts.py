"""Begins few requests at a time and takes the clients in turn, so that a crowd from one address delays mostly itself.

All requests of a process share one event loop. If a thousand requests began at once, each step of any other request
would wait for a step of all of them.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phoenix.access.rate_limits import to_subject
from phoenix.api.middleware import ARRIVED_KEY
from phoenix.api.server.connection_cap import SPARE_PATHS

MAX_BEGINNING = 8
"""Enough to keep a core busy while some of them wait for the database."""
CROWD = MAX_BEGINNING
"""More than a browser sends at a time over HTTP/1.1."""
CROWD_SLOTS = 2
"""Each step of another client's request waits for a step of each of these. One alone would often wait itself."""
_MAX_HELD_S = 0.25
"""A request that takes longer waits for something other than the event loop."""


_Turns = OrderedDict[str, deque[asyncio.Future[None]]]
"""The waiting requests of each client, the client whose turn is next first."""


class StartQueue:
    """Grants so many `slots` at a time. Waiting clients are served in turn, and the requests of a client in order.

    A client is a crowd from the moment when more than `CROWD` of its requests wait until none waits. While another
    client has a request here, crowds get no more than `CROWD_SLOTS`.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._held: Counter[str] = Counter()
        """Slots of each client that has any."""
        self._calm: _Turns = OrderedDict()
        self._crowds: _Turns = OrderedDict()

    async def enter(self, client: str) -> None:
        """Returns when the client has a slot. Call `leave` afterwards, unless this raises."""
        turn = asyncio.get_running_loop().create_future()
        queue = self._crowds if client in self._crowds else self._calm
        queue.setdefault(client, deque()).append(turn)
        if queue is self._calm and len(queue[client]) > CROWD:
            self._crowds[client] = queue.pop(client)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the slot came just before
                self.leave(client)
            raise

    def leave(self, client: str) -> None:
        """Passes a slot of the client on."""
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        self._grant()

    def _grant(self) -> None:
        while (held := self._held.total()) < self._slots and (queue := self._next_queue(held)) is not None:
            client, turns = queue.popitem(last=False)
            turn = turns.popleft()
            if turns:
                queue[client] = turns
            if not turn.done():  # done: its request was canceled
                self._held[client] += 1
                turn.set_result(None)

    def _next_queue(self, held: int) -> "_Turns | None":
        """The clients of which the first is next. None if only crowds wait, and they have their slots."""
        of_crowds = sum(count for client, count in self._held.items() if client in self._crowds)
        of_calm = held - of_crowds
        # Crowds keep their slots too, with any number of other clients.
        if self._calm and (not self._crowds or of_calm < max(1, self._slots - CROWD_SLOTS)):
            return self._calm
        if self._crowds and (of_crowds < CROWD_SLOTS or not of_calm):
            return self._crowds
        return None


class FairStarts:
    """Lets a request hold a slot of the queue from its head until the first part of its response, and no longer.

    It holds none while it waits for its body, and gives the slot up after `max_held_s`: no request can block others.
    Health checks and metrics begin at once.
    """

    def __init__(self, app: ASGIApp, queue: StartQueue, *, max_held_s: float = _MAX_HELD_S) -> None:
        self._app = app
        self._queue = queue
        self._max_held_s = max_held_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in SPARE_PATHS:
            await self._app(scope, receive, send)
            return
        scope[ARRIVED_KEY] = time.monotonic()
        client = to_subject(scope["client"][0]) if scope.get("client") else "unknown"
        start = _Start(self._queue, client, self._max_held_s)
        await start.enter()
        try:
            has_body = not {"content-length", "transfer-encoding"}.isdisjoint(Headers(scope=scope))
            await self._app(scope, start.receiving(receive) if has_body else receive, start.sending(send))
        finally:
            start.end()


class _Start:
    """The start of one request."""

    def __init__(self, queue: StartQueue, client: str, max_held_s: float) -> None:
        self._queue = queue
        self._client = client
        self._max_held_s = max_held_s
        self._timer: asyncio.TimerHandle | None = None
        """Runs while the request holds a slot."""
        self._is_entering = False
        self._is_over = False

    async def enter(self) -> None:
        if self._is_entering or self._timer is not None:  # in another task of this request
            return
        self._is_entering = True
        try:
            await self._queue.enter(self._client)
        finally:
            self._is_entering = False
        if self._is_over:
            self._queue.leave(self._client)
            return
        self._timer = asyncio.get_running_loop().call_later(self._max_held_s, self._leave)

    def end(self) -> None:
        self._is_over = True
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._queue.leave(self._client)

    def receiving(self, receive: Receive) -> Receive:
        async def receive_without_slot() -> Message:
            if self._is_over:
                return await receive()
            self._leave()
            message = await receive()
            if not message.get("more_body"):
                await self.enter()
            return message

        return receive_without_slot

    def sending(self, send: Send) -> Send:
        async def send_and_leave(message: Message) -> None:
            # Not with the head: the bytes of a file are still to be read.
            if message["type"] == "http.response.body" and not self._is_over:
                self.end()
            await send(message)

        return send_and_leave
