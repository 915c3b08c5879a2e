"""Enqueues dispatch messages in arq's format, and finds lost ones. `listener` consumes them."""

import time
from collections.abc import Iterator, Sequence

from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import Redis

from phoenix.queues import payload
from phoenix.queues.commands import Command, send_all, translate_redis_errors
from phoenix.queues.queue import DispatchMessage, queue_key, wake_channel

MESSAGE_TTL_MS = 7 * 24 * 3600 * 1000
"""After this time Redis drops a message that nobody consumed; it is then found missing."""

# arq compares a message's score with the worker's clock. A score a year in the past is due on every host, however
# wrong the clocks of worker and replica are; an hour was too little for hosts that were two hours apart.
_BACKDATE_MS = 365 * 24 * 3600 * 1000


class ArqTaskQueue:
    """Puts dispatch messages where arq workers look for them.

    Does not use arq's `enqueue_job`, which refuses an entry that the queue has lost but whose definition still exists,
    orders entries of the same millisecond by id, and takes two round trips for each.
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
        with translate_redis_errors():
            await send_all(self._redis, commands)

    async def revoke(self, queue: str, messages: Sequence[DispatchMessage]) -> None:
        """Keeps the definitions for workers that have just picked a message; it is enqueued again under its name."""
        if messages:
            with translate_redis_errors():
                await send_all(
                    self._redis, [("ZREM", queue_key(self._prefix, queue), *(message.name for message in messages))]
                )

    async def find_missing(self, queue: str, messages: Sequence[DispatchMessage]) -> list[DispatchMessage]:
        if not messages:
            return []
        key = queue_key(self._prefix, queue)
        commands: list[Command] = []
        for message in messages:
            commands += [("ZSCORE", key, message.name), ("EXISTS", job_key_prefix + message.name)]
        with translate_redis_errors():
            answers = await send_all(self._redis, commands)
        is_there = [score is not None and defined for score, defined in zip(answers[::2], answers[1::2], strict=True)]
        return [message for message, there in zip(messages, is_there, strict=True) if not there]

    async def was_wiped(self) -> bool:
        """Also True for a Redis that was never used."""
        with translate_redis_errors():
            (was_set,) = await send_all(self._redis, [("SET", f"{self._prefix}:epoch", "1", "NX")])
        return was_set is not None

    def _next_scores(self) -> Iterator[int]:
        """Strictly increasing, also from one batch to the next."""
        while True:
            self._last_score = max(int(time.time() * 1000) - _BACKDATE_MS, self._last_score + 1)
            yield self._last_score


def _definition(message: DispatchMessage) -> bytes:
    arguments = (message.task_id, message.dispatch_seq)
    return serialize_job(payload.FUNCTION, arguments, {}, None, 0, serializer=payload.encode)
