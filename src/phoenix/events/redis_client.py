"""Opens connections to Redis, and sends commands. The only file of this room that touches redis-py's loose types."""

from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from phoenix.events.redis_connection import connection_options

# Bounded, so that a process has the same few connections for one stream as for five thousand.
_MAX_CONNECTIONS = 8

Command = tuple[str | bytes | int, ...]
"""A command's name and its arguments: `("PUBLISH", channel, message)`."""


def open_redis(url: str, *, socket_timeout_s: float) -> Redis:
    """A client that answers in bytes. It connects at its first command; close it with `aclose()`.

    With a frozen Redis, each command takes about `socket_timeout_s`. A command on a dead connection is retried once, at
    once: publishing twice does no harm, thanks to sequence numbers.
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
    """Sends the commands in one round trip, and returns their answers in order.

    Raises `redis.exceptions.RedisError` or `OSError` while Redis is away, after at most the socket's time limit.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]
        return await pipe.execute()


def open_pubsub(redis: Redis) -> PubSub:
    """A pub/sub connection to the same server, outside the client's pool.

    It never reconnects by itself, which would silently skip what was published meanwhile. Closing it while the server
    is frozen fails, but does not cost the pool a connection.
    """
    pool: Any = redis.connection_pool
    ours: dict[str, Any] = {"retry": None, "retry_on_error": [], "socket_timeout": None, "decode_responses": False}
    options: dict[str, Any] = {**pool.connection_kwargs, **ours}
    return PubSub(ConnectionPool(connection_class=pool.connection_class, **options))


async def subscribe(pubsub: PubSub, channels: set[str]) -> None:
    """Sends the command; the server's acknowledgements come with the messages."""
    await pubsub.subscribe(*channels)  # pyright: ignore[reportUnknownMemberType]


async def unsubscribe(pubsub: PubSub, channels: set[str]) -> None:
    await pubsub.unsubscribe(*channels)  # pyright: ignore[reportUnknownMemberType]


async def next_message(pubsub: PubSub, timeout_s: float) -> tuple[str, str, bytes] | None:
    """Kind, channel and data of the next message; None after `timeout_s` of silence.

    Without an explicit limit, redis-py would use the socket's, and take silence for a dead connection.
    """
    message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=timeout_s))
    if message is None:
        return None
    channel, data = message["channel"] or b"", message["data"]
    return message["type"], channel.decode(), data if isinstance(data, bytes) else b""


async def ping(pubsub: PubSub) -> None:
    """Asks for a sign of life, which comes as a message of the kind `pong`."""
    await pubsub.ping()  # pyright: ignore[reportUnknownMemberType]
