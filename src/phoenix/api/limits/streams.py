"""Bounds the open streams of a key across all replicas. Streams are leased, so those of a lost replica expire."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from phoenix.access.keys import ANYBODY
from phoenix.async_tasks import in_background
from phoenix.errors import RateLimited
from phoenix.events.pubsub.redis_client import BestEffort, Command, send

LEASE_S = 60
_TIMEOUT_S = 0.25
_RETRY_AFTER_S = 5
_RENEW_BATCH = 1000

# A sorted set per key: its open streams, scored by the second at which their lease ends.
_OPEN = b"""
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
_RENEW = b"""
local now = tonumber(redis.call('TIME')[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""


class OpenStreams:
    """One per process; enter `running` for as long as it serves streams."""

    def __init__(self, redis: Redis, prefix: str, *, per_key: int, lease_s: int = LEASE_S) -> None:
        self._redis = redis
        self._prefix = prefix
        self._per_key = per_key
        self._lease_s = lease_s
        self._streams: dict[str, set[str]] = {}
        self._best_effort = BestEffort(_TIMEOUT_S)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["OpenStreams"]:
        """Renews the leases during the block."""
        async with in_background(self._renew_forever(), name="stream-leases"):
            yield self

    @asynccontextmanager
    async def slot(self, owner_id: str) -> AsyncGenerator[None]:
        """Counts a stream of this owner during the block. Raises `RateLimited` at the limit, if Redis is there."""
        if owner_id == ANYBODY.owner_id or not self._per_key:
            yield
            return
        stream_id = secrets.token_hex(8)
        command = ("EVAL", _OPEN, 1, self._key(owner_id), self._per_key, self._lease_s, stream_id)
        if not await self._run(command, otherwise=[1]):
            detail = f"This key has {self._per_key} streams open, which is its limit."
            raise RateLimited(detail, policies=["streams"], retry_after_s=_RETRY_AFTER_S)
        streams = self._streams.setdefault(owner_id, set())
        streams.add(stream_id)
        try:
            yield
        finally:
            streams.discard(stream_id)
            if not streams:
                self._streams.pop(owner_id, None)
            await self._run(("ZREM", self._key(owner_id), stream_id), otherwise=[0])

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            for owner_id, streams in list(self._streams.items()):
                ids = sorted(streams)
                for first in range(0, len(ids), _RENEW_BATCH):
                    some = ids[first : first + _RENEW_BATCH]
                    await self._run(("EVAL", _RENEW, 1, self._key(owner_id), self._lease_s, *some), otherwise=[0])

    async def _run(self, command: Command, *, otherwise: list[Any]) -> Any:
        (answer,) = await self._best_effort.attempt(lambda: send(self._redis, command), otherwise=otherwise)
        return answer

    def _key(self, owner_id: str) -> str:
        return f"{self._prefix}:limit:streams:{owner_id}"
