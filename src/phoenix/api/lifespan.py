"""The state that the routes need at run time: opened when the application starts, closed in reverse order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio

from phoenix.api.auth import Authenticator, KeyUsageRecorder, Revocations, StreamTokens
from phoenix.api.background.dispatcher import Dispatcher
from phoenix.api.background.lease_reaper import LeaseReaper
from phoenix.api.background.queue_positions import QueuePositionPublisher
from phoenix.api.background.retention import RetentionService
from phoenix.api.background.webhook_sender import WebhookSender
from phoenix.api.http.sse_response import SendTimeouts
from phoenix.api.job_views import JobViews
from phoenix.api.rate_limits import OpenStreams, RequestLimits
from phoenix.async_tasks import in_background
from phoenix.events.fanout.hub import Hub
from phoenix.events.log_interface import CoalescingEventLog
from phoenix.events.pubsub.notifier import Notifier
from phoenix.events.pubsub.subscriber import PubSubSubscriber
from phoenix.jobs.event_log.reader import SqlEventLog
from phoenix.services import Services, open_services
from phoenix.settings import Settings

# Each probe is a process that decodes: more than two at once only slow each other down.
_MAX_CONCURRENT_PROBES = 2


@dataclass(frozen=True)
class AppState:
    """One per process and event loop."""

    services: Services
    job_views: JobViews
    log: CoalescingEventLog
    hub: Hub
    send_timeouts: SendTimeouts
    tokens: StreamTokens
    authenticator: Authenticator
    key_usage: KeyUsageRecorder
    request_limits: RequestLimits
    open_streams: OpenStreams
    draining: anyio.Event
    """Set when the server has to stop; all streams then end."""
    probe_slots: asyncio.Semaphore


@asynccontextmanager
async def open_app_state(settings: Settings) -> AsyncGenerator[AppState]:
    """Opens the services, the hub of the streams, and the background services."""
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        database, publisher = services.database, services.publisher
        subscriber = await stack.enter_async_context(PubSubSubscriber(services.redis))
        log = CoalescingEventLog(SqlEventLog(database, publisher.read_progress, services.queue_positions))
        revocations = Revocations(database, is_required=settings.is_auth_required)
        hub = Hub(
            subscriber,
            log,
            prefix=settings.redis.prefix,
            settings=settings.events,
            local_progress=publisher.local_progress,
            find_invalid=revocations.find,
        )
        await stack.enter_async_context(hub)
        await stack.enter_async_context(_background_services(services, subscriber))
        send_timeouts = await stack.enter_async_context(SendTimeouts(settings.events.send_timeout_s).running())
        draining = anyio.Event()
        await stack.enter_async_context(_close_streams_on_drain(hub, send_timeouts, draining))
        limits, prefix = settings.limits, settings.redis.prefix
        open_streams = OpenStreams(services.redis, prefix, per_key=limits.streams_per_key)
        yield AppState(
            services=services,
            job_views=JobViews(database, publisher, services.queue_positions),
            log=log,
            hub=hub,
            send_timeouts=send_timeouts,
            tokens=StreamTokens(database, settings, revocations),
            authenticator=Authenticator(database, is_required=settings.is_auth_required),
            key_usage=await stack.enter_async_context(KeyUsageRecorder(database).running()),
            request_limits=RequestLimits(services.redis, prefix, limits),
            open_streams=await stack.enter_async_context(open_streams.running()),
            draining=draining,
            probe_slots=asyncio.Semaphore(_MAX_CONCURRENT_PROBES),
        )


@asynccontextmanager
async def _background_services(services: Services, subscriber: PubSubSubscriber) -> AsyncGenerator[None]:
    database, settings = services.database, services.settings
    async with (
        Notifier(services.redis, services.channels.tasks_ready).wake_event(subscriber) as wake_event,
        Dispatcher(database, services.queue, settings).running(wake_event),
        LeaseReaper(database, settings.scheduler).running(),
        WebhookSender(database, settings.webhooks).running(),
        QueuePositionPublisher(services).running(),
        RetentionService(database, services.store, settings.retention).running(),
    ):
        yield


@asynccontextmanager
async def _close_streams_on_drain(hub: Hub, send_timeouts: SendTimeouts, draining: anyio.Event) -> AsyncGenerator[None]:
    # The server shuts the application down only after its streams have ended, so the streams are closed first.
    async def close() -> None:
        await draining.wait()
        hub.close_streams()
        send_timeouts.shorten()

    async with in_background(close(), name="close-streams"):
        yield
