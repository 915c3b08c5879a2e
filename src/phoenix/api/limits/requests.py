"""Rate limits on requests per key, and on failed authentications per address, announced in headers.

The headers are those of draft-ietf-httpapi-ratelimit-headers, in the syntax of RFC 9651.
"""

import math
from collections.abc import Mapping

from redis.asyncio import Redis
from starlette.types import Scope

from phoenix.access.keys import ANYBODY, Caller
from phoenix.api.limits.buckets import Buckets, Policy, Taken
from phoenix.errors import RateLimited
from phoenix.settings import LimitSettings

_NOTED = "phoenix.rate_limit"


class RequestLimits:
    """One per process."""

    def __init__(self, redis: Redis, prefix: str, limits: LimitSettings) -> None:
        self._buckets = Buckets(redis, prefix)
        self._requests = Policy("requests", limits.requests_per_minute)
        self._failed_auth = Policy("failed-auth", limits.failed_auth_per_minute)

    async def count(self, scope: Scope, caller: Caller) -> None:
        """Counts a request, and notes the headers for its response. Raises `RateLimited`."""
        if caller is ANYBODY or not self._requests.quota:
            return
        taken = await self._buckets.take(self._requests, caller.owner_id)
        if taken is None:
            return
        scope[_NOTED] = describe(self._requests, taken)
        if not taken.is_allowed:
            detail = f"This key makes more than {self._requests.quota} requests a minute."
            raise _refusal(detail, self._requests, taken)

    async def count_failed_auth(self, scope: Scope) -> None:
        """Counts a request without a valid key. Raises `RateLimited` if the address has made too many."""
        if not self._failed_auth.quota:
            return
        address = scope["client"][0] if scope.get("client") else "unknown"
        taken = await self._buckets.take(self._failed_auth, address)
        if taken is not None and not taken.is_allowed:
            raise _refusal("Too many requests without a valid key come from this address.", self._failed_auth, taken)


def describe(policy: Policy, taken: Taken) -> Mapping[str, str]:
    """Response headers with the policy, and what is left of it."""
    return {
        "RateLimit-Policy": f'"{policy.name}";q={policy.quota};w={policy.window_s}',
        "RateLimit": f'"{policy.name}";r={taken.left};t={math.ceil(taken.full_in_s)}',
    }


def noted_headers(scope: Scope) -> Mapping[str, str]:
    """The headers noted for the response to this request."""
    return scope.get(_NOTED, {})


def _refusal(detail: str, policy: Policy, taken: Taken) -> RateLimited:
    return RateLimited(detail, policies=[policy.name], retry_after_s=max(1, math.ceil(taken.retry_in_s)))
