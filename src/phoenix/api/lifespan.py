"""What the routes need at run time: opened when the application starts, closed in reverse order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio

from phoenix.api.auth.callers import Callers, KeyUses, Revocations
from phoenix.api.auth.stream_tokens import StreamTokens
from phoenix.api.background.dispatcher import Feeder
from phoenix.api.background.lease_reaper import Sweeper
from phoenix.api.background.queue_positions import QueuePositionPublisher
from phoenix.api.background.retention import Janitor
from phoenix.api.background.webhook_sender import WebhookSender
from phoenix.api.http.sse_response import StalledSends
from phoenix.api.limits.requests import RequestLimits
from phoenix.api.limits.streams import OpenStreams
from phoenix.assembly import Services, open_services
from phoenix.async_tasks import in_background
from phoenix.events.fanout.hub import Hub
from phoenix.events.log.coalescing import SharedReads
from phoenix.events.pubsub.notifier import Bell
from phoenix.events.pubsub.subscriber import Line
from phoenix.jobs.event_log.reader import SqlEventLog
from phoenix.settings import Settings

# Each probe is a process that decodes: more than two at once only slow each other down.
_PROBES_AT_ONCE = 2


@dataclass(frozen=True)
class Running:
    """One per process and event loop."""

    services: Services
    log: SharedReads
    hub: Hub
    sends: StalledSends
    tokens: StreamTokens
    callers: Callers
    key_uses: KeyUses
    request_limits: RequestLimits
    open_streams: OpenStreams
    draining: anyio.Event
    """Set when the server is asked to stop: streams then end."""
    probing: asyncio.Semaphore


@asynccontextmanager
async def run(settings: Settings) -> AsyncGenerator[Running]:
    """Opens the services, the hub of the streams, and the chores."""
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        line = await stack.enter_async_context(Line(services.redis))
        log = SharedReads(_sql_log(services))
        revocations = Revocations(services)
        hub = Hub(
            line,
            log,
            prefix=settings.redis.prefix,
            settings=settings.events,
            recollection=services.publisher.recollection,
            find_revoked=revocations.find,
        )
        await stack.enter_async_context(hub)
        await stack.enter_async_context(_doing_chores(services, line))
        sends = await stack.enter_async_context(StalledSends(settings.events.send_timeout_s).watched())
        draining = anyio.Event()
        await stack.enter_async_context(_closing_streams(hub, sends, draining))
        limits, prefix = settings.limits, settings.redis.prefix
        open_streams = OpenStreams(services.redis, prefix, per_key=limits.streams_per_key)
        yield Running(
            services=services,
            log=log,
            hub=hub,
            sends=sends,
            tokens=StreamTokens(services, revocations),
            callers=Callers(services),
            key_uses=await stack.enter_async_context(KeyUses(services.database).running()),
            request_limits=RequestLimits(services.redis, prefix, limits),
            open_streams=await stack.enter_async_context(open_streams.running()),
            draining=draining,
            probing=asyncio.Semaphore(_PROBES_AT_ONCE),
        )


def _sql_log(services: Services) -> SqlEventLog:
    return SqlEventLog(
        services.database,
        services.publisher.read_progress,
        worker_timeout_s=worker_timeout_s(services.settings),
        clips_per_key=services.settings.limits.running_clips_per_key,
        lines=services.lines,
    )


@asynccontextmanager
async def _doing_chores(services: Services, line: Line) -> AsyncGenerator[None]:
    timeout_s = worker_timeout_s(services.settings)
    async with (
        Bell(services.redis, services.channels.feed).waking(line) as rung,
        Feeder(services, worker_timeout_s=timeout_s).running(rung),
        Sweeper(services, worker_timeout_s=timeout_s).running(),
        WebhookSender(services).running(),
        QueuePositionPublisher(services, worker_timeout_s=timeout_s).running(),
        Janitor(services).running(),
    ):
        yield


def worker_timeout_s(settings: Settings) -> float:
    """Seconds without a heartbeat after which a worker counts as gone: as long as its leases last."""
    return settings.scheduler.lease_s


@asynccontextmanager
async def _closing_streams(hub: Hub, sends: StalledSends, draining: anyio.Event) -> AsyncGenerator[None]:
    # The server shuts the application down only after its streams have ended, so those must hear of it first.
    async def close() -> None:
        await draining.wait()
        hub.close_streams()
        sends.hurry()

    async with in_background(close(), name="close-streams"):
        yield
