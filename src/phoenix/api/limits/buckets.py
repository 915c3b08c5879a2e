"""Rate limiting across all replicas: one round trip per request, on Redis's clock."""

from dataclasses import dataclass

from redis.asyncio import Redis

from phoenix.events.best_effort import BestEffort
from phoenix.events.redis_client import send

# The generic cell rate algorithm (GCRA): one number per key, the time in microseconds when the bucket is full again.
_TAKE = b"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local quota, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local next_full_at = full_at + window / quota
if next_full_at - window > now then
  return {0, 0, full_at - now, next_full_at - window - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', next_full_at), 'PX', math.ceil((next_full_at - now) / 1000))
return {1, math.floor((window - (next_full_at - now)) * quota / window + 0.000001), next_full_at - now, 0}
"""

# A Redis that does not respond holds a request up for no longer than this.
_TIME_LIMIT_S = 0.25


@dataclass(frozen=True)
class Policy:
    """`quota` requests in `window_s` seconds; all of them at once if none came before."""

    name: str
    quota: int
    window_s: int = 60


@dataclass(frozen=True)
class Taken:
    """The outcome for one request. Seconds are fractional; callers round them up."""

    is_allowed: bool
    left: int
    full_in_s: float
    retry_in_s: float


class Buckets:
    """One bucket per policy and key."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._redis_may_be_away = BestEffort(_TIME_LIMIT_S)

    async def take(self, policy: Policy, of: str) -> Taken | None:
        """Takes one token from the bucket of `of`, a key or an address. None while Redis is away."""
        key = f"{self._prefix}:limit:{policy.name}:{of}"
        window_us = policy.window_s * 1_000_000

        async def run() -> Taken:
            (answer,) = await send(self._redis, ("EVAL", _TAKE, 1, key, policy.quota, window_us))
            is_allowed, left, full_in_us, retry_in_us = answer
            return Taken(bool(is_allowed), left, full_in_us / 1e6, retry_in_us / 1e6)

        return await self._redis_may_be_away.attempt(run, otherwise=None)
