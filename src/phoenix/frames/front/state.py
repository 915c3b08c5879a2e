"""What the servers of one process `phoenix frames` share, opened from its services."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from phoenix.access import authentication, host_policy, open_slots, rate_limits
from phoenix.errors import RateLimited
from phoenix.frames.front.callers import Callers
from phoenix.frames.front.meters import FrameMeters
from phoenix.frames.front.open_sessions import OpenSessions
from phoenix.frames.front.owned_videos import OwnedVideos
from phoenix.frames.service import FrameService
from phoenix.services import Services
from phoenix.settings import Settings


@dataclass(frozen=True)
class FrontState:
    """One per process and event loop."""

    settings: Settings
    service: FrameService
    videos: OwnedVideos
    sessions: OpenSessions
    callers: Callers
    hosts: host_policy.HostPolicy
    meters: FrameMeters

    @property
    def is_serving(self) -> bool:
        """Whether new sessions are opened."""
        return not self.sessions.is_draining and self.service.health().is_serving


@asynccontextmanager
async def open_front(services: Services, service: FrameService) -> AsyncGenerator[FrontState]:
    """Raises `UnsafeSettings`."""
    settings, database = services.settings, services.database
    is_required = settings.is_auth_required
    hosts = host_policy.HostPolicy.from_settings(settings)
    revocations = authentication.Revocations(database, is_required=is_required)
    prefix, timeout_s = settings.redis.prefix, settings.redis.limits_timeout_s
    buckets = rate_limits.TokenBuckets(services.redis, prefix, timeout_s=timeout_s)
    policy = open_slots.OpenPolicy("frame-sessions", settings.frames.sessions_per_key, RateLimited)
    meters = FrameMeters()
    videos = OwnedVideos(service, database, services.store, settings)
    async with AsyncExitStack() as stack:
        slots = open_slots.OpenSlots(services.redis, prefix, policy, timeout_s=timeout_s)
        await stack.enter_async_context(slots.running())
        sessions = OpenSessions(service, videos, slots, revocations, meters, settings.frames)
        await stack.enter_async_context(sessions.running())
        usage = await stack.enter_async_context(authentication.KeyUsageRecorder(database).running())
        callers = Callers(
            authentication.Authenticator(database, is_required=is_required),
            authentication.Tokens(database, settings.api.token_secret, revocations),
            usage,
            rate_limits.RequestLimits(buckets, settings.limits),
            settings,
        )
        yield FrontState(settings, service, videos, sessions, callers, hosts, meters)
