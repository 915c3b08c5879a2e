"""Limits on what a key has open at a time, over all replicas, kept in Redis: event streams, downloads and uploads.

While Redis is away, nobody is limited.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from starlette.types import Scope

from phoenix.access.keys import ANYBODY, Caller
from phoenix.access.rate_limits import to_subject
from phoenix.async_tasks import in_background
from phoenix.errors import RateLimited
from phoenix.events.pubsub.redis_client import BestEffort, Command, send


@dataclass(frozen=True)
class OpenPolicy:
    """At most `per_key` of one kind at a time; any number if 0."""

    name: str
    per_key: int
    error: type[RateLimited]
    """What a client at its limit gets."""

    def refusal(self) -> RateLimited:
        detail = f"This client has {self.per_key} {self.name} open, which is its limit. Wait until one has ended."
        return self.error(detail, policies=[self.name], retry_after_s=_RETRY_AFTER_S)


def transfer_subject(scope: Scope, caller: Caller) -> str:
    """Whose downloads and uploads count together: a key, or an address where no key is needed."""
    if caller is not ANYBODY:
        return caller.owner_id
    return to_subject(scope["client"][0] if scope.get("client") else "unknown")


LEASE_S = 60
_RETRY_AFTER_S = 5
_RENEW_BATCH = 1000

# A sorted set per key: what it has open, scored by the second at which their lease ends.
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


class OpenSlots:
    """Bounds what a key has open of one kind. One per process and kind; enter `running` while the process serves.

    Each slot is leased, so that the slots of a lost replica expire.
    """

    def __init__(
        self, redis: Redis, prefix: str, policy: OpenPolicy, *, timeout_s: float, lease_s: int = LEASE_S
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._policy = policy
        self._lease_s = lease_s
        self._slots: dict[str, set[str]] = {}
        self._best_effort = BestEffort(timeout_s)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["OpenSlots"]:
        """Renews the leases during the block."""
        async with in_background(self._renew_forever(), name=f"{self._policy.name}-leases"):
            yield self

    @asynccontextmanager
    async def slot(self, subject: str) -> AsyncGenerator[None]:
        """Counts one more of this subject, a key or an address, during the block. Raises the policy's error."""
        if not self._policy.per_key:
            yield
            return
        slot_id = secrets.token_hex(8)
        command = ("EVAL", _OPEN, 1, self._key(subject), self._policy.per_key, self._lease_s, slot_id)
        slots = self._slots.setdefault(subject, set())
        # Before the request to Redis: a slot that a canceled task has taken is given back as well.
        slots.add(slot_id)
        try:
            if not await self._run(command, otherwise=[1]):
                raise self._policy.refusal()
            yield
        finally:
            slots.discard(slot_id)
            if not slots:
                self._slots.pop(subject, None)
            await self._run(("ZREM", self._key(subject), slot_id), otherwise=[0])

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            for subject, slots in list(self._slots.items()):
                ids = sorted(slots)
                for first in range(0, len(ids), _RENEW_BATCH):
                    some = ids[first : first + _RENEW_BATCH]
                    await self._run(("EVAL", _RENEW, 1, self._key(subject), self._lease_s, *some), otherwise=[0])

    async def _run(self, command: Command, *, otherwise: list[Any]) -> Any:
        (answer,) = await self._best_effort.attempt(lambda: send(self._redis, command), otherwise=otherwise)
        return answer

    def _key(self, subject: str) -> str:
        return f"{self._prefix}:limit:{self._policy.name}:{subject}"
