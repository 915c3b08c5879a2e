"""Limits over all replicas, kept in Redis: requests per key, and failed authentications per address.

While Redis is away, nobody is limited. The headers follow draft-ietf-httpapi-ratelimit-headers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network

from redis.asyncio import Redis
from starlette.types import Scope

from phoenix.access.keys import ANYBODY, Caller
from phoenix.errors import RateLimited
from phoenix.events.pubsub.channels import Channels, new_keys_version
from phoenix.events.pubsub.redis_client import BestEffort, Command, send
from phoenix.settings import LimitSettings

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


@dataclass(frozen=True)
class RateLimitPolicy:
    """`quota` requests in `window_s` seconds. A caller that was idle may send all of them at once."""

    name: str
    quota: int
    window_s: int = 60


@dataclass(frozen=True)
class RateLimitDecision:
    """The outcome for one request. Seconds are fractional; the headers round them up."""

    is_allowed: bool
    remaining: int
    reset_in_s: float
    retry_in_s: float


class TokenBuckets:
    """One token bucket per policy and key."""

    def __init__(self, redis: Redis, prefix: str, *, timeout_s: float) -> None:
        self._redis = redis
        self._prefix = prefix
        self._best_effort = BestEffort(timeout_s)

    async def take_token(self, policy: RateLimitPolicy, subject: str) -> RateLimitDecision | None:
        """Takes one token from the bucket of `subject`, a key or an address. None while Redis is away."""

        async def run() -> RateLimitDecision:
            (answer,) = await send(self._redis, self._take(policy, subject))
            return _read_decision(answer)

        return await self._best_effort.attempt(run, otherwise=None)

    async def take_token_and_version(
        self, policy: RateLimitPolicy, subject: str
    ) -> tuple[RateLimitDecision | None, bytes | None]:
        """Like `take_token`, with the version of the keys, in one round trip. Without a quota there is no decision."""
        key = Channels(self._prefix).keys_version
        take = [self._take(policy, subject)] if policy.quota else []

        async def run() -> tuple[RateLimitDecision | None, bytes | None]:
            version, *answers = await send(self._redis, ("GET", key), *take)
            if version is None:
                # A version that was lost with the data of Redis must not come back.
                _, version = await send(self._redis, ("SET", key, new_keys_version(), "NX"), ("GET", key))
            return (_read_decision(answers[0]) if answers else None), version

        return await self._best_effort.attempt(run, otherwise=(None, None))

    def _take(self, policy: RateLimitPolicy, subject: str) -> Command:
        key = f"{self._prefix}:limit:{policy.name}:{subject}"
        return ("EVAL", _TAKE, 1, key, policy.quota, policy.window_s * 1_000_000)


def _read_decision(answer: list[int]) -> RateLimitDecision:
    is_allowed, remaining, reset_in_us, retry_in_us = answer
    return RateLimitDecision(bool(is_allowed), remaining, reset_in_us / 1e6, retry_in_us / 1e6)


_SCOPE_KEY = "phoenix.rate_limit"


class RequestLimits:
    """The rate limits of requests. One per process."""

    def __init__(self, buckets: TokenBuckets, limits: LimitSettings) -> None:
        self._buckets = buckets
        self._requests = RateLimitPolicy("requests", limits.requests_per_minute)
        self._failed_auth = RateLimitPolicy("failed-auth", limits.failed_auth_per_minute)
        self._storyboards = RateLimitPolicy("storyboards", limits.storyboards_per_minute)

    async def count(self, scope: Scope, caller: Caller) -> bytes | None:
        """Counts a request, and stores the headers for its response in the scope. Raises `RateLimited`.

        Returns the version of the keys at this moment; None while Redis is away, and if no key is required.
        """
        if caller is ANYBODY:
            return None
        decision, version = await self._buckets.take_token_and_version(self._requests, caller.owner_id)
        if decision is None:
            return version
        scope[_SCOPE_KEY] = to_headers(self._requests, decision)
        if not decision.is_allowed:
            detail = f"This key makes more than {self._requests.quota} requests a minute."
            raise _rate_limited(detail, self._requests, decision)
        return version

    async def count_storyboard(self, caller: Caller) -> None:
        """Counts a storyboard that a language model is about to write. Raises `RateLimited`."""
        if caller is ANYBODY or not self._storyboards.quota:
            return
        decision = await self._buckets.take_token(self._storyboards, caller.owner_id)
        if decision is not None and not decision.is_allowed:
            detail = f"A language model writes at most {self._storyboards.quota} storyboards of this key a minute."
            raise _rate_limited(detail, self._storyboards, decision)

    async def count_failed_auth(self, scope: Scope) -> None:
        """Counts a request with no valid key or token. Raises `RateLimited` if the address has made too many."""
        if not self._failed_auth.quota:
            return
        address = scope["client"][0] if scope.get("client") else "unknown"
        decision = await self._buckets.take_token(self._failed_auth, to_subject(address))
        if decision is not None and not decision.is_allowed:
            raise _rate_limited(
                "Too many requests without a valid key or token come from this address.", self._failed_auth, decision
            )


_IPV6_PREFIX = 64
"""Bits. One host of IPv6 usually owns all addresses of such a network, and could use another one for each request."""


@lru_cache(maxsize=1024)
def to_subject(address: str) -> str:
    """What failed authentications from this address are counted under: the address, or its network for IPv6."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ip_network((int(ip), _IPV6_PREFIX), strict=False))


def to_headers(policy: RateLimitPolicy, decision: RateLimitDecision) -> Mapping[str, str]:
    """The response headers: the policy, the requests left, and the seconds until the quota is full again."""
    return {
        "RateLimit-Policy": f'"{policy.name}";q={policy.quota};w={policy.window_s}',
        "RateLimit": f'"{policy.name}";r={decision.remaining};t={math.ceil(decision.reset_in_s)}',
    }


def rate_limit_headers(scope: Scope) -> Mapping[str, str]:
    """The headers that `RequestLimits.count` stored for the response; empty if nothing was counted."""
    return scope.get(_SCOPE_KEY, {})


def _rate_limited(detail: str, policy: RateLimitPolicy, decision: RateLimitDecision) -> RateLimited:
    return RateLimited(detail, policies=[policy.name], retry_after_s=max(1, math.ceil(decision.retry_in_s)))
