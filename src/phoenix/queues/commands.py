"""Sends commands to Redis in one round trip. The only file of this package that touches redis-py's loose types."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from arq import ArqRedis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from phoenix.errors import Unavailable
from phoenix.queues import payload

Command = tuple[str | bytes | int, ...]
"""A command's name and its arguments: `("ZSCORE", key, member)`."""

RETRY_AFTER_S = 2


async def send_all(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Runs the commands as one transaction, and returns their answers in order."""
    async with redis.pipeline(transaction=True) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]
        return await pipe.execute()


@contextmanager
def translate_redis_errors() -> Generator[None]:
    """Turns errors of redis-py inside into `Unavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("Redis is away.", retry_after_s=RETRY_AFTER_S) from error


def open_arq(redis: Redis) -> ArqRedis:
    """A client for arq: the same server and socket time limits, but connections of its own.

    arq's own settings have no socket time limit: with a frozen Redis its worker would hang, and ignore signals.
    """
    pool = redis.connection_pool
    options: dict[str, Any] = dict(pool.connection_kwargs)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    # Once: a connection that turns out to be dead is replaced, a Redis that is away is reported.
    options |= {"retry": Retry(NoBackoff(), 1), "retry_on_error": [RedisConnectionError], "decode_responses": False}
    connection_class: Any = pool.connection_class
    own_pool = ConnectionPool(connection_class, **options)
    return ArqRedis(own_pool, job_serializer=payload.encode, job_deserializer=payload.decode)
