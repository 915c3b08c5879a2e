"""Rings doorbells in arq's format, and finds those that got lost. Answering them is `listener`'s part."""

import time
from collections.abc import Iterator, Sequence

from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import Redis

from phoenix.queues import payload
from phoenix.queues.commands import Command, redis_faults, send_all
from phoenix.queues.queue import Doorbell, queue_key, wake_channel

LIFE_MS = 7 * 24 * 3600 * 1000
"""Milliseconds after which an unanswered doorbell is dropped, and then found missing."""

# arq compares a doorbell's score with the worker's clock. A score a year in the past is due on every host, however
# wrong the clocks of worker and replica are; an hour was too little for hosts that were two hours apart.
_HEAD_START_MS = 365 * 24 * 3600 * 1000


class ArqTaskQueue:
    """Puts doorbells where arq workers look for them.

    Does not use arq's `enqueue_job`, which refuses an entry that the queue has lost but whose definition still exists,
    orders entries of the same millisecond by id, and takes two round trips for each.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._last_score = 0

    async def ring(self, queue: str, doorbells: Sequence[Doorbell]) -> None:
        """Also publishes on the queue's wake channel, so that a worker looks within milliseconds."""
        if not doorbells:
            return
        key = queue_key(self._prefix, queue)
        commands: list[Command] = []
        for score, doorbell in zip(self._next_scores(), doorbells, strict=False):
            commands.append(("PSETEX", job_key_prefix + doorbell.name, LIFE_MS, _definition(doorbell)))
            commands.append(("ZADD", key, "NX", score, doorbell.name))
        commands.append(("PUBLISH", wake_channel(self._prefix, queue), ""))
        with redis_faults():
            await send_all(self._redis, commands)

    async def withdraw(self, queue: str, doorbells: Sequence[Doorbell]) -> None:
        """Leaves their definitions for workers that have just picked them; they are rung again under the same names."""
        if doorbells:
            with redis_faults():
                await send_all(
                    self._redis, [("ZREM", queue_key(self._prefix, queue), *(doorbell.name for doorbell in doorbells))]
                )

    async def find_missing(self, queue: str, doorbells: Sequence[Doorbell]) -> list[Doorbell]:
        if not doorbells:
            return []
        key = queue_key(self._prefix, queue)
        commands: list[Command] = []
        for doorbell in doorbells:
            commands += [("ZSCORE", key, doorbell.name), ("EXISTS", job_key_prefix + doorbell.name)]
        with redis_faults():
            answers = await send_all(self._redis, commands)
        is_there = [score is not None and defined for score, defined in zip(answers[::2], answers[1::2], strict=True)]
        return [doorbell for doorbell, there in zip(doorbells, is_there, strict=True) if not there]

    async def was_wiped(self) -> bool:
        """Also True for a Redis that was never used."""
        with redis_faults():
            (was_set,) = await send_all(self._redis, [("SET", f"{self._prefix}:epoch", "1", "NX")])
        return was_set is not None

    def _next_scores(self) -> Iterator[int]:
        """Strictly increasing, also from one batch to the next."""
        while True:
            self._last_score = max(int(time.time() * 1000) - _HEAD_START_MS, self._last_score + 1)
            yield self._last_score


def _definition(doorbell: Doorbell) -> bytes:
    arguments = (doorbell.task_id, doorbell.dispatch)
    return serialize_job(payload.FUNCTION, arguments, {}, None, 0, serializer=payload.encode)
