"""Sessions over WebSocket. A refusal is a message, which a page can read, unless the page is a foreign one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from phoenix.access import keys, open_slots
from phoenix.clock import in_seconds
from phoenix.errors import RequestError
from phoenix.frames.front import client_messages as messages
from phoenix.frames.front.callers import Presented, choose_subprotocol
from phoenix.frames.front.faults import Fault, FrameError, explain
from phoenix.frames.front.meters import FrameMeters, FrameTransport
from phoenix.frames.front.open_sessions import OpenSubject
from phoenix.frames.front.relay import ClientLeft, SessionRelay
from phoenix.frames.front.state import FrontState
from phoenix.frames.interface import FrameOut, ImageFormat
from phoenix.telemetry.logs import get_logger

SESSION_PATH = "/v1/frames/session"

_logger = get_logger(__name__)

_NORMAL, _RESTART = 1000, 1012
_MAX_OPENING = 256
"""Connections without a session yet. Each is open for PHOENIX_FRAMES__OPEN_TIMEOUT_S at most."""
_MAX_REASON_BYTES = 120
"""A close frame has 125 bytes, of which the code takes two."""


class SocketClient:
    """The client of one WebSocket."""

    def __init__(self, receive: Receive, send: Send, meters: FrameMeters) -> None:
        self._receive = receive
        self._send = send
        self._meters = meters
        self.image_format = ImageFormat.JPEG

    async def incoming(self) -> AsyncIterator[messages.ClientMessage]:
        while True:
            message = await self.receive()
            data = message.get("bytes")
            yield messages.read_control(message["text"]) if data is None else messages.read_sound(data)

    async def receive(self) -> Message:
        """Raises `ClientLeft`."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise ClientLeft
        return message

    async def send_frame(self, frame: FrameOut, sequence: int) -> None:
        data = messages.write_frame(frame, sequence, self.image_format)
        await self._pass({"type": "websocket.send", "bytes": data})
        self._meters.count_frame(FrameTransport.WEBSOCKET, len(data))

    async def send(self, news: messages.SessionNews) -> None:
        await self._pass({"type": "websocket.send", "text": news.model_dump_json()})

    async def close(self, code: int, reason: str = "") -> None:
        # A character that is cut in two would not be UTF-8.
        short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        await self._pass({"type": "websocket.close", "code": code, "reason": short})

    async def _pass(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError as error:
            raise ClientLeft from error


class SessionEndpoint:
    """The WebSocket at `SESSION_PATH`, as an ASGI application."""

    def __init__(self, state: FrontState) -> None:
        self._state = state
        self._opening = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the handshake
        refused = self._check_handshake(scope)
        if refused is not None:
            await _reject(send, refused)
            return
        client = SocketClient(receive, send, self._state.meters)
        try:
            await send({"type": "websocket.accept", "subprotocol": choose_subprotocol(scope)})
            relay = await self._serve(scope, client)
            await client.close(_RESTART if relay.is_finishing else _NORMAL)
        except (ClientLeft, OSError):
            return
        except Exception as error:  # noqa: BLE001 - the client learns what it may know, and the log has the rest
            await self._fail(client, explain(error), scope)
            _cut_off_if_unread(send)

    def _check_handshake(self, scope: Scope) -> FrameError | None:
        """The same rules as for a request that changes something: any page can open a WebSocket to any server."""
        if scope["path"] != SESSION_PATH:
            return FrameError(Fault.NOT_FOUND, f"There is no WebSocket here, but at {SESSION_PATH}.")
        if self._opening >= _MAX_OPENING:
            return FrameError(Fault.TOO_MANY_SESSIONS, "Too many connections wait here for their first message.")
        try:
            self._state.hosts.check("POST", scope.get("http_version", "1.1"), Headers(scope=scope))
        except RequestError as error:
            return explain(error)
        return None

    async def _serve(self, scope: Scope, client: SocketClient) -> SessionRelay:
        opening = await self._read_opening(client)
        client.image_format = opening.format
        presented = Presented.from_handshake(scope)
        caller = await self._state.callers.authenticate(presented, keys.Scope.WRITE, video_id=opening.video_id)
        subject = OpenSubject(caller, open_slots.transfer_subject(scope, caller), FrameTransport.WEBSOCKET)
        return await self._state.sessions.serve(opening, subject, client)

    async def _read_opening(self, client: SocketClient) -> messages.OpenSession:
        limit_s = self._state.settings.frames.open_timeout_s
        self._opening += 1
        try:
            async with asyncio.timeout(limit_s):
                message = await client.receive()
        except TimeoutError:
            raise FrameError(Fault.IDLE, f"No session was opened within {in_seconds(limit_s)}.") from None
        finally:
            self._opening -= 1
        if message.get("text") is None:
            raise FrameError(Fault.MALFORMED_MESSAGE, "The first message is JSON, which opens the session.")
        return messages.read_opening(message["text"])

    async def _fail(self, client: SocketClient, error: FrameError, scope: Scope) -> None:
        self._state.meters.count_fault(FrameTransport.WEBSOCKET, error.fault)
        client_address = scope["client"][0] if scope.get("client") else None
        _logger.info("a session ended with a fault", fault=error.fault, detail=error.detail, client=client_address)
        # A client that reads again learns why its session has ended.
        with suppress(TimeoutError, ClientLeft):
            async with asyncio.timeout(self._state.settings.frames.read_timeout_s):
                await client.send(messages.SessionFailed(fault=error.fault, detail=error.detail))
                await client.close(error.kind.close_code, error.fault)


async def _reject(send: Send, error: FrameError) -> None:
    """Answers the handshake with an HTTP status."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "websocket.http.response.start", "status": error.kind.http_status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": f"{error.fault}: {error.detail}\n".encode()})


def _cut_off_if_unread(send: Send) -> None:
    """Ends a connection whose client takes nothing: uvicorn would wait for it, even while the server stops."""
    # `send` is a method of uvicorn's object for this connection.
    connection: Any = getattr(send, "__self__", None)
    writable = getattr(connection, "writable", None)
    if writable is not None and not writable.is_set():
        connection.transport.abort()
