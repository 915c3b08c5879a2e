"""The state that the routes need at run time: opened when the application starts, closed in reverse order."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import anyio

from phoenix.access.authentication import Authenticator, KeyUsageRecorder, Revocations, Tokens
from phoenix.access.open_slots import OpenPolicy, OpenSlots
from phoenix.access.rate_limits import RequestLimits, TokenBuckets
from phoenix.api.background.dispatcher import Dispatcher
from phoenix.api.background.job_embedding import JobEmbeddingService
from phoenix.api.background.lease_reaper import LeaseReaper
from phoenix.api.background.queue_positions import QueuePositionPublisher
from phoenix.api.background.retention import RetentionService
from phoenix.api.background.statistics import StatisticsService
from phoenix.api.background.webhook_attempt import Signer
from phoenix.api.background.webhook_sender import WebhookSender
from phoenix.api.health_checks import HealthChecks
from phoenix.api.job_views import JobViews
from phoenix.api.signed_urls import SignedUrls
from phoenix.async_tasks import in_background
from phoenix.catalog.catalog import Catalog
from phoenix.child_processes import follow_lifeline
from phoenix.db import Database
from phoenix.embedding.sentence_model import Embedder
from phoenix.errors import RateLimited, TooManyTransfers
from phoenix.events.fanout.hub import Hub
from phoenix.events.log_interface import CoalescingEventLog
from phoenix.events.pubsub.notifier import Notifier
from phoenix.events.pubsub.subscriber import PubSubSubscriber
from phoenix.jobs.event_log.reader import SqlEventLog
from phoenix.jobs.library.vector_indexes import VectorIndexes
from phoenix.services import Services, open_services
from phoenix.settings import Settings
from phoenix.storyboards.llm import Llm
from phoenix.storyboards.llm_planner import LlmPlanner
from phoenix.storyboards.writer import StoryboardWriter
from phoenix.telemetry.error_reports import report_errors
from phoenix.telemetry.logs import configure_logs, get_logger
from phoenix.telemetry.meters import Meters
from phoenix.telemetry.spans import tracing

# Each probe is a process that decodes: more than two at once only slow each other down.
_MAX_CONCURRENT_PROBES = 2


@dataclass(frozen=True)
class AppState:
    """One per process and event loop."""

    services: Services
    health_checks: HealthChecks
    job_views: JobViews
    log: CoalescingEventLog
    hub: Hub
    tokens: Tokens
    signed_urls: SignedUrls
    authenticator: Authenticator
    key_usage: KeyUsageRecorder
    request_limits: RequestLimits
    open_streams: OpenSlots
    open_downloads: OpenSlots
    open_uploads: OpenSlots
    storyboards: StoryboardWriter
    embedder: Embedder
    draining: anyio.Event
    """Set when the server has to stop; all streams then end."""
    probe_slots: asyncio.Semaphore

    @cached_property
    def vector_indexes(self) -> VectorIndexes:
        return VectorIndexes(self.services.database)


@asynccontextmanager
async def open_app_state(settings: Settings, meters: Meters, signer: Signer) -> AsyncGenerator[AppState]:
    """Opens the services, the hub of the streams, and the background services unless another process has them."""
    report_errors("phoenix-api")
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing("phoenix-api"))
        services = await stack.enter_async_context(open_services(settings))
        database, publisher = services.database, services.publisher
        subscriber = await stack.enter_async_context(PubSubSubscriber(services.redis))
        log = CoalescingEventLog(SqlEventLog(database, publisher.read_progress, services.queue_positions))
        revocations = Revocations(database, is_required=settings.is_auth_required)
        tokens = Tokens(database, settings.api.token_secret, revocations)
        hub = Hub(
            subscriber,
            log,
            prefix=settings.redis.prefix,
            settings=settings.events,
            local_progress=publisher.local_progress,
            find_invalid=revocations.find,
        )
        await stack.enter_async_context(hub)
        key_ends = Notifier(services.redis, services.channels.keys_ended)
        await stack.enter_async_context(key_ends.subscribe(subscriber, lambda _payload: hub.check_now()))
        embedder = Embedder(settings.search)
        stack.callback(embedder.close)
        if settings.api.background:
            await stack.enter_async_context(_background_services(services, subscriber, meters, embedder, signer))
        draining = anyio.Event()
        await stack.enter_async_context(_close_streams_on_drain(hub, draining))
        limits, prefix = settings.limits, settings.redis.prefix
        timeout_s = settings.redis.limits_timeout_s
        open_slots = partial(_open_slots, stack, partial(OpenSlots, services.redis, prefix, timeout_s=timeout_s))
        yield AppState(
            services=services,
            health_checks=HealthChecks(database, services.redis, services.store, services.reserve),
            job_views=JobViews(database, publisher, services.queue_positions),
            log=log,
            hub=hub,
            tokens=tokens,
            signed_urls=SignedUrls(tokens, settings),
            authenticator=Authenticator(database, is_required=settings.is_auth_required),
            key_usage=await stack.enter_async_context(KeyUsageRecorder(database).running()),
            request_limits=RequestLimits(TokenBuckets(services.redis, prefix, timeout_s=timeout_s), limits),
            open_streams=await open_slots(OpenPolicy("streams", limits.streams_per_key, RateLimited)),
            open_downloads=await open_slots(OpenPolicy("downloads", limits.downloads_per_key, TooManyTransfers)),
            open_uploads=await open_slots(OpenPolicy("uploads", limits.uploads_per_key, TooManyTransfers)),
            storyboards=await stack.enter_async_context(_storyboards(settings, services.catalog, database)),
            embedder=embedder,
            draining=draining,
            probe_slots=asyncio.Semaphore(_MAX_CONCURRENT_PROBES),
        )


async def _open_slots(
    stack: AsyncExitStack, make_slots: Callable[[OpenPolicy], OpenSlots], policy: OpenPolicy
) -> OpenSlots:
    return await stack.enter_async_context(make_slots(policy).running())


@asynccontextmanager
async def _storyboards(settings: Settings, catalog: Catalog, database: Database) -> AsyncGenerator[StoryboardWriter]:
    llm = Llm(settings.llm)
    try:
        planner = LlmPlanner(llm, catalog, timeout_s=settings.llm.timeout_s)
        async with StoryboardWriter(database, planner).running() as writer:
            yield writer
    finally:
        await llm.close()


@asynccontextmanager
async def _background_services(
    services: Services, subscriber: PubSubSubscriber, meters: Meters, embedder: Embedder, signer: Signer
) -> AsyncGenerator[None]:
    """Runs each service during the block while this process is its leader."""
    database, settings = services.database, services.settings
    async with (
        Notifier(services.redis, services.channels.tasks_ready).wake_event(subscriber) as wake_event,
        Dispatcher(database, services.queue, settings).running(wake_event),
        LeaseReaper(database, settings.scheduler).running(),
        WebhookSender(database, settings.webhooks, meters.count_webhook_try, signer).running(),
        QueuePositionPublisher(database, services.publisher, services.queue_positions).running(),
        RetentionService(database, services.store, settings.retention).running(),
        StatisticsService(database).running(),
        JobEmbeddingService(database, embedder).running(),
    ):
        yield


def serve_background(settings: Settings, signer: Signer) -> None:
    """Runs the services in this process until SIGTERM or SIGINT. `signer` signs the webhooks."""
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    # For systems whose kernel does not end a child with its parent.
    follow_lifeline(lambda: os._exit(1))
    report_errors("phoenix-background")
    with tracing("phoenix-background"):
        asyncio.run(_run_until_signal(settings, signer))


async def _run_until_signal(settings: Settings, signer: Signer) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        subscriber = await stack.enter_async_context(PubSubSubscriber(services.redis))
        embedder = Embedder(settings.search)
        stack.callback(embedder.close)
        await stack.enter_async_context(_background_services(services, subscriber, Meters(), embedder, signer))
        get_logger(__name__).info("background services have started")
        await stopping.wait()


@asynccontextmanager
async def _close_streams_on_drain(hub: Hub, draining: anyio.Event) -> AsyncGenerator[None]:
    # The server shuts the application down only after its streams have ended, so the streams are closed first.
    async def close() -> None:
        await draining.wait()
        hub.close_streams()

    async with in_background(close(), name="close-streams"):
        yield
