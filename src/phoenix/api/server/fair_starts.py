"""Begins few requests at a time and takes the clients in turn, so that a crowd from one address delays mostly itself.

All requests of a process share one event loop. If a thousand requests began at once, each step of any other request
would wait for a step of all of them.
"""

import asyncio
import time
from collections import OrderedDict, deque

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phoenix.api.middleware import ARRIVED_KEY
from phoenix.api.rate_limits import to_subject
from phoenix.api.server.connection_cap import SPARE_PATHS

MAX_BEGINNING = 8
"""Enough to keep a core busy while some of them wait for the database."""
_MAX_HELD_S = 0.25
"""A request that takes longer waits for something other than the event loop."""


class StartQueue:
    """Grants so many `slots` at a time. Waiting clients are served in turn, and the requests of a client in order."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def enter(self, client: str) -> None:
        """Returns when the client has a slot. Call `leave` afterwards, unless this raises."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the slot came just before
                self.leave()
            raise

    def leave(self) -> None:
        """Passes a slot on to the next client."""
        while self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.done():  # done: its request was canceled
                turn.set_result(None)
                return
        self._free += 1


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
            self._queue.leave()
            return
        self._timer = asyncio.get_running_loop().call_later(self._max_held_s, self._leave)

    def end(self) -> None:
        self._is_over = True
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._queue.leave()

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
