"""Connections to Redis whose time limit on writing does not swallow cancellations. Not needed after Python 3.11."""

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class _PromptWrites(AbstractConnection):
    """Bounds a write by `asyncio.timeout`.

    redis-py uses `asyncio.wait_for`, which in Python 3.11 returns normally if the cancellation comes in the very turn
    of the loop in which the write ends: the cancelled task lives on, and whoever awaits its end waits forever.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect()
        elif check_health:
            await self.check_health()
        command = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([command] if isinstance(command, bytes) else command)
        except BaseException as error:
            # Half a command may be sent: the next one would be read as its rest. Closing without an abort would
            # first flush that rest.
            if self._writer is not None:
                self._writer.transport.abort()
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError("Timeout writing to socket") from None
            if isinstance(error, OSError):
                raise RedisConnectionError(f"Error while writing to socket: {error}") from error
            raise


class _PromptConnection(_PromptWrites, Connection):
    pass


class _PromptUnixConnection(_PromptWrites, UnixDomainSocketConnection):
    pass


class _PromptTlsConnection(_PromptWrites, SSLConnection):
    pass


_PROMPT: dict[type[Any], type[AbstractConnection]] = {
    Connection: _PromptConnection,
    UnixDomainSocketConnection: _PromptUnixConnection,
    SSLConnection: _PromptTlsConnection,
}


def connection_options(url: str) -> dict[str, Any]:
    """A pool's arguments for a `redis://`, `rediss://` or `unix://` URL. Raises `ValueError` for another."""
    options: dict[str, Any] = {**parse_url(url)}
    options["connection_class"] = _PROMPT[options.get("connection_class", Connection)]
    return options
