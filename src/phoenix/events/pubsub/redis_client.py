"""Opens connections to Redis, and sends commands. The only file of this package that touches redis-py's loose types."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger


class _PromptWrites(AbstractConnection):
    """Bounds a write by `asyncio.timeout`.

    redis-py uses `asyncio.wait_for`. In Python 3.11 it returns normally if the task is cancelled in the same turn of
    the loop in which the write ends: the cancelled task lives on, and a caller that awaits its end waits forever.
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
            # Half of the command may be sent, and Redis would read the next command as the other half. A close
            # without an abort would first flush the other half.
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
    """A pool's arguments for a `redis://`, `rediss://` or `unix://` URL. Raises `ValueError` for any other URL."""
    options: dict[str, Any] = {**parse_url(url)}
    options["connection_class"] = _PROMPT[options.get("connection_class", Connection)]
    return options


# Bounded, so that five thousand streams of a process need no more connections than a single stream.
_MAX_CONNECTIONS = 8

Command = tuple[str | bytes | int, ...]
"""A command's name and its arguments: `("PUBLISH", channel, message)`."""


def open_redis(url: str, *, socket_timeout_s: float) -> Redis:
    """A client that returns bytes. It connects at its first command; close it with `aclose()`.

    While Redis is frozen, each command takes about `socket_timeout_s`. A command on a dead connection is retried once,
    without a delay: an event that is published twice does no harm, thanks to its sequence number.
    """
    options: dict[str, Any] = {
        "max_connections": _MAX_CONNECTIONS,
        "timeout": socket_timeout_s,
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": socket_timeout_s,
        "retry": Retry(NoBackoff(), 1),
        "retry_on_error": [RedisConnectionError],
    }
    return Redis.from_pool(BlockingConnectionPool(**options | connection_options(url)))


async def send(redis: Redis, *commands: Command) -> list[Any]:
    """Sends the commands in one round trip, without a transaction. Returns their answers in order.

    Raises `redis.exceptions.RedisError` or `OSError` while Redis is away, after at most the socket's time limit.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]
        return await pipe.execute()


def open_pubsub(redis: Redis) -> PubSub:
    """A pub/sub connection to the same server, outside the client's pool.

    The connection never reconnects by itself: a silent reconnect would hide that messages were lost. To close it fails
    while the server is frozen, but does not cost the pool a connection.
    """
    pool: Any = redis.connection_pool
    ours: dict[str, Any] = {"retry": None, "retry_on_error": [], "socket_timeout": None, "decode_responses": False}
    options: dict[str, Any] = {**pool.connection_kwargs, **ours}
    return PubSub(ConnectionPool(connection_class=pool.connection_class, **options))


async def close_pubsub(pubsub: PubSub) -> None:
    """Closes the connection, also one whose `connect` was cancelled: redis-py leaves that one open, with the pool."""
    try:
        await pubsub.aclose()
    finally:
        await pubsub.connection_pool.disconnect()


async def subscribe(pubsub: PubSub, channels: set[str]) -> None:
    """Sends the command. The server's acknowledgements arrive among the messages."""
    await pubsub.subscribe(*channels)  # pyright: ignore[reportUnknownMemberType]


async def unsubscribe(pubsub: PubSub, channels: set[str]) -> None:
    await pubsub.unsubscribe(*channels)  # pyright: ignore[reportUnknownMemberType]


async def next_message(pubsub: PubSub, timeout_s: float) -> tuple[str, str, bytes] | None:
    """Kind, channel and data of the next message; None after `timeout_s` of silence.

    Without an explicit limit, redis-py would use the socket's limit, and treat silence as a dead connection.
    """
    message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=timeout_s))
    if message is None:
        return None
    channel, data = message["channel"] or b"", message["data"]
    return message["type"], channel.decode(), data if isinstance(data, bytes) else b""


async def ping(pubsub: PubSub) -> None:
    """Sends a ping. The server answers with a message of the kind `pong`."""
    await pubsub.ping()  # pyright: ignore[reportUnknownMemberType]


_logger = get_logger(__name__)
_T = TypeVar("_T")

# After a timeout, no call is tried for this long, since Redis is probably frozen: otherwise every publication of a
# busy process would wait for the socket's time limit.
_PAUSE_AFTER_TIMEOUT_S = 1.0


class BestEffort:
    """Runs calls to Redis, each for at most `timeout_s`, and never raises because Redis is away."""

    def __init__(self, timeout_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._paused_until_s = 0.0
        self._outages = FailureEpisode(
            _logger, "redis is away; streams follow the log in SQL", "redis is back", clock_s=clock_s
        )

    async def attempt(self, call: Callable[[], Awaitable[_T]], *, otherwise: _T) -> _T:
        """Returns the result of `call`, or `otherwise` while Redis is away."""
        if self._clock_s() < self._paused_until_s:
            return otherwise
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await call()
        except (RedisTimeoutError, TimeoutError) as error:
            self._paused_until_s = self._clock_s() + _PAUSE_AFTER_TIMEOUT_S
            self._outages.fail(error)
        except (RedisError, OSError) as error:
            self._outages.fail(error)
        else:
            self._outages.end()
            return result
        return otherwise
