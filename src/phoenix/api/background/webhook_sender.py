"""Delivers webhooks: many at once, few per target. Another replica can take over a delivery when its lease expires."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpcore

from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.api.background.webhook_attempt import (
    DeliveryOutcome,
    Signer,
    correlation_headers,
    post,
    retry_in_s,
    sign,
)
from phoenix.clock import utc_now
from phoenix.db import Database
from phoenix.errors import PhoenixError
from phoenix.jobs.webhooks.deliveries import (
    DueDelivery,
    claim_due,
    has_due,
    record_failure,
    record_refusal,
    record_success,
)
from phoenix.jobs.webhooks.signing_secrets import get_secret
from phoenix.media.ssrf import EgressPolicy, open_pool
from phoenix.settings import WebhookSettings
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger, log_context
from phoenix.telemetry.spans import start_span
from phoenix.telemetry.traces import trace_fields

_logger = get_logger(__name__)

# Added to the time limit of a try: a slow database takes a while to record the outcome.
_LEASE_MARGIN_S = 30.0
_TARGET_SHARE_DIVISOR = 8
_NOT_SENT = "No valid response."


class WebhookSender:
    """The background service `webhooks` of one API process."""

    def __init__(
        self,
        database: Database,
        settings: WebhookSettings,
        on_try: Callable[[str], object] = lambda _: None,
        signer: Signer = sign,
    ) -> None:
        """`on_try` gets the outcome of each try: one of `telemetry.meters.WEBHOOK_OUTCOMES`."""
        self._on_try = on_try
        self._sign = signer
        self._database = database
        self._settings = settings
        self._policy = EgressPolicy.for_webhooks(settings)
        self._per_target = max(1, self._settings.max_concurrent // _TARGET_SHARE_DIVISOR)
        self._in_flight: dict[asyncio.Task[Any], str] = {}
        self._unrecorded = FailureEpisode(
            _logger, "the outcome of a webhook was not recorded", "outcomes of webhooks are recorded again"
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Delivers during the block. Deliveries in flight at its end are sent again once their leases have expired."""

        async def wait() -> None:
            await asyncio.sleep(self._settings.poll_interval_s)

        async with open_pool(self._policy, max_connections=self._settings.max_concurrent) as pool:

            async def start_due() -> None:
                await self._start_due(pool)

            try:
                async with leader_loop(LeaderLease(self._database, "webhooks"), start_due, wait):
                    yield
            finally:
                for task in self._in_flight:
                    task.cancel()
                await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _start_due(self, pool: httpcore.AsyncConnectionPool) -> None:
        """Starts the deliveries that are due. Raises `Unavailable` while the database is away."""
        free_slots = self._settings.max_concurrent - len(self._in_flight)
        counts = Counter(self._in_flight.values())
        busy = [target for target, count in counts.items() if count >= self._per_target]
        async with self._database.read() as session:
            if free_slots <= 0 or not await has_due(session, busy_targets=busy):
                return
        async with self._database.write() as uow:
            claimed = await claim_due(
                uow,
                limit=free_slots,
                per_target=self._per_target,
                in_flight=counts,
                lease_s=self._settings.timeout_s + _LEASE_MARGIN_S,
            )
        for due in claimed:
            task = asyncio.create_task(self._deliver(pool, due), name=f"webhook-{due.id}")
            self._in_flight[task] = due.target
            task.add_done_callback(lambda done: self._in_flight.pop(done, None))

    async def _deliver(self, pool: httpcore.AsyncConnectionPool, due: DueDelivery) -> None:
        attributes = {"phoenix.delivery_id": due.id, "phoenix.attempt": due.attempt, "server.address": due.target}
        span = start_span("webhook", parent=due.traceparent, kind="client", attributes=attributes)
        with log_context(request_id=due.request_id, delivery_id=due.id, **trace_fields(due.traceparent)):
            try:
                outcome = await self._try(pool, replace(due, traceparent=span.traceparent or due.traceparent))
                span.set({"http.response.status_code": outcome.status})
                if outcome.error:
                    span.fail(outcome.error)
                self._on_try("refused" if outcome.is_gone else "failed" if outcome.error else "delivered")
                await self._record(due, outcome)
            except Exception as error:  # noqa: BLE001 - the failure episode logs it
                # The lease expires and the delivery is sent again: delivery is at least once.
                self._unrecorded.fail(error, is_unexpected=not isinstance(error, PhoenixError))
            else:
                self._unrecorded.end()
            finally:
                span.end()

    async def _try(self, pool: httpcore.AsyncConnectionPool, due: DueDelivery) -> DeliveryOutcome:
        try:
            return await self._post(pool, due)
        except PhoenixError:
            raise
        except Exception:
            # Without an outcome, the delivery would be due again at the end of each lease, forever.
            _logger.exception("a webhook was not delivered")
            return DeliveryOutcome(error=_NOT_SENT)

    async def _post(self, pool: httpcore.AsyncConnectionPool, due: DueDelivery) -> DeliveryOutcome:
        now = utc_now()
        secrets = (await get_secret(self._database, due.owner_id)).valid(now)
        signed = self._sign(due.id, due.body, int(now.timestamp()), secrets)
        headers = {**signed.headers, **correlation_headers(due.request_id, due.traceparent)}
        return await post(pool, due.url, signed.body, headers, policy=self._policy, timeout_s=self._settings.timeout_s)

    async def _record(self, due: DueDelivery, outcome: DeliveryOutcome) -> None:
        async with self._database.write() as uow:
            if outcome.error is None and outcome.status is not None:
                await record_success(uow, due, outcome.status)
            elif outcome.is_gone and outcome.status is not None:
                await record_refusal(uow, due, outcome.status)
            else:
                delay_s = retry_in_s(due.attempt, retry_after_s=outcome.retry_after_s, jitter=random.random())
                error = outcome.error or _NOT_SENT
                await record_failure(uow, due, status=outcome.status, error=error, retry_in_s=delay_s)
