"""Dispatch messages in Redis, in the format of arq: their payload, the commands that enqueue them, and lost messages.

`consumer` picks them. Only these two files touch arq's and redis-py's loose types.
"""

import json
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from arq import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from phoenix.errors import Unavailable
from phoenix.queues.queue import DispatchMessage, queue_key, wake_channel

FUNCTION = "claim"
"""Name of the only function that a payload may name."""

MAX_PAYLOAD_BYTES = 4096

MESSAGE_TTL_MS = 7 * 24 * 3600 * 1000
"""Redis drops a message that no worker picked for this long; `find_missing` then reports it."""

RETRY_AFTER_S = 2

# arq compares a message's score with the worker's clock. A score a year in the past is due on every host, however
# wrong the clocks of worker and replica are; an hour was too little for hosts that were two hours apart.
_BACKDATE_MS = 365 * 24 * 3600 * 1000

_NAME = re.compile(rb"task_[0-9a-z]{26}:[1-9][0-9]{0,9}")
_TASK_ID = re.compile(r"task_[0-9a-z]{26}")

Command = tuple[str | bytes | int, ...]
"""A command's name and its arguments: `("ZSCORE", key, member)`."""


class ArqTaskQueue:
    """Puts dispatch messages where arq workers look for them.

    Does not use arq's `enqueue_job`: it refuses an entry that the queue has lost but whose definition still exists,
    orders entries of the same millisecond by id, and takes two round trips for each entry.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._last_score = 0

    async def enqueue(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Also publishes on the queue's wake channel, so that a worker looks within milliseconds."""
        if not messages:
            return
        key = queue_key(self._prefix, queue)
        commands: list[Command] = []
        for score, message in zip(self._next_scores(), messages, strict=False):
            commands.append(("PSETEX", job_key_prefix + message.name, MESSAGE_TTL_MS, _definition(message)))
            commands.append(("ZADD", key, "NX", score, message.name))
        commands.append(("PUBLISH", wake_channel(self._prefix, queue), ""))
        with _translate_redis_errors():
            await send_all(self._redis, commands)

    async def revoke(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Keeps the definitions, for workers that have just picked a message, and for the next `enqueue` of it."""
        if messages:
            with _translate_redis_errors():
                await send_all(
                    self._redis, [("ZREM", queue_key(self._prefix, queue), *(message.name for message in messages))]
                )

    async def find_missing(self, queue: str, messages: Sequence[DispatchMessage]) -> list[DispatchMessage]:
        """The messages whose entry or definition Redis has lost."""
        if not messages:
            return []
        key = queue_key(self._prefix, queue)
        commands: list[Command] = []
        for message in messages:
            commands += [("ZSCORE", key, message.name), ("EXISTS", job_key_prefix + message.name)]
        with _translate_redis_errors():
            answers = await send_all(self._redis, commands)
        is_there = [score is not None and defined for score, defined in zip(answers[::2], answers[1::2], strict=True)]
        return [message for message, there in zip(messages, is_there, strict=True) if not there]

    async def was_wiped(self) -> bool:
        """Also True for a Redis that was never used."""
        with _translate_redis_errors():
            (was_set,) = await send_all(self._redis, [("SET", f"{self._prefix}:epoch", "1", "NX")])
        return was_set is not None

    def _next_scores(self) -> Iterator[int]:
        """Strictly increasing, also from one batch to the next."""
        while True:
            self._last_score = max(int(time.time() * 1000) - _BACKDATE_MS, self._last_score + 1)
            yield self._last_score


def _definition(message: DispatchMessage) -> bytes:
    arguments = (message.task_id, message.dispatch_seq)
    return serialize_job(FUNCTION, arguments, {}, None, 0, serializer=encode_job)


def encode_job(job: dict[str, Any]) -> bytes:
    """arq's serializer: `{"f":"claim","a":[task_id, dispatch_seq]}`.

    arq's default is pickle, with which anyone who can write to Redis runs code in every worker. Times and results are
    left out, since nothing reads them.
    """
    return json.dumps({"f": job["f"], "a": job["a"]}, separators=(",", ":")).encode()


def decode_job(payload: bytes) -> dict[str, Any]:
    """arq's deserializer. Raises `ValueError` for a payload that is not a dispatch message."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes is not a dispatch message")
    try:
        parsed: object = json.loads(payload)
    except RecursionError as error:
        raise ValueError("a payload nested so deep is not a dispatch message") from error
    match parsed:
        case {"f": str(function), "a": [str(task_id), int(dispatch_seq)]} if _TASK_ID.fullmatch(task_id):
            return {"f": function, "a": (task_id, dispatch_seq), "k": {}, "t": None, "et": 0}
        case _:
            raise ValueError("the payload is not a dispatch message")


def is_message_name(entry: bytes) -> bool:
    """Whether an entry of a queue has the name of a dispatch message."""
    return _NAME.fullmatch(entry) is not None


async def send_all(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Runs the commands as one transaction in one round trip, and returns their answers in order."""
    async with redis.pipeline(transaction=True) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]
        return await pipe.execute()


@contextmanager
def _translate_redis_errors() -> Generator[None]:
    """Turns errors of redis-py inside the block into `Unavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("Redis is away.", retry_after_s=RETRY_AFTER_S) from error


def open_arq(redis: Redis) -> ArqRedis:
    """A client for arq: the same server and socket time limits, but connections of its own.

    arq's own settings have no socket time limit: while Redis is frozen, its worker would hang and ignore signals.
    """
    pool = redis.connection_pool
    options: dict[str, Any] = dict(pool.connection_kwargs)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    # One retry: it replaces a dead connection, and still reports a Redis that is away.
    options |= {"retry": Retry(NoBackoff(), 1), "retry_on_error": [RedisConnectionError], "decode_responses": False}
    connection_class: Any = pool.connection_class
    own_pool = ConnectionPool(connection_class, **options)
    return ArqRedis(own_pool, job_serializer=encode_job, job_deserializer=decode_job)
