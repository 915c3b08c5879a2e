"""Handles a dispatch message: claims the task, runs it, and records the outcome while the fencing token is valid."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from phoenix.contract import ResolvedLipsync, ResolvedReel
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.disk_space import is_full_disk
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import FailureCode, NewerVersionError, Stage, StorageFull, TaskFailed, no_space
from phoenix.jobs.execution.claim import Claim, claim, renew_leases
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.execution.task_completion import (
    NO_RECORD,
    AttemptOutput,
    AttemptRecord,
    fail,
    release,
    stop,
    succeed,
)
from phoenix.jobs.lifecycle import LeaseLost, TaskKind
from phoenix.jobs.scheduling.affinity import skip_for_affinity
from phoenix.jobs.scheduling.dispatch import snooze
from phoenix.jobs.scheduling.worker_orders import may_claim
from phoenix.queues.queue import DispatchMessage, ReleaseSlot, Snooze
from phoenix.telemetry.collected_lines import LineCollector, collect_lines
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger, log_context
from phoenix.telemetry.traces import trace_fields
from phoenix.worker.context import WorkerContext, retry_until_available
from phoenix.worker.leases import HeldLease, LeaseHeartbeat
from phoenix.worker.media_tasks import assemble, make_segments, make_soundtrack
from phoenix.worker.narration import narrate
from phoenix.worker.records.attempt_spans import end_attempt_span, start_attempt_span
from phoenix.worker.render import render_clip


@dataclass(frozen=True)
class Succeeded:
    result: AttemptOutput


@dataclass(frozen=True)
class Failed:
    failure: TaskFailed


@dataclass(frozen=True)
class Stopped:
    reason: StopReason


AttemptOutcome = Succeeded | Failed | Stopped


def outcome_of(error: BaseException, stop_reason: StopReason | None, stage: Stage) -> Failed | Stopped:
    """The outcome of an attempt that raised `error` in `stage`. `stop_reason`: why it was asked to stop, or None.

    A stop explains every error: a killed encoder raises an error, and an engine may wrap the stop in another error.
    """
    reason = stop_reason or (error.reason if isinstance(error, RenderStopped) else None)
    if reason is StopReason.STALLED:
        detail = "the attempt made no progress for too long"
        return Failed(TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=stage, retriable=True))
    if reason is not None:
        return Stopped(reason)
    if isinstance(error, TaskFailed):
        return Failed(error)
    return Failed(_unexpected(error, stage))


def _unexpected(error: BaseException, stage: Stage) -> TaskFailed:
    if is_full_disk(error):
        return no_space("the worker's disk is full", stage=stage)
    # The text may contain internal paths or data. The owner of the job sees only the type; the log has the text.
    detail = f"an unexpected {type(error).__name__} ended the attempt"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=stage, retriable=True)


_logger = get_logger(__name__)

_SNOOZE_S = 10.0
"""How long a worker that cannot run a task leaves the task to other workers."""

_DRAINING_S = 1.0
"""How long a worker that drains leaves a task to other workers, before a heartbeat brings its orders."""

OnEnd = Callable[[AttemptOutcome], None]


class _NotServedHere(Exception):
    """This worker lacks the weights of the model, its engine or its API key."""


class Runner:
    """Claims the tasks of one worker process. `on_end` is called after each attempt, once its outcome is recorded."""

    def __init__(self, context: WorkerContext, heartbeat: LeaseHeartbeat, worker_id: str, on_end: OnEnd) -> None:
        self._context = context
        self._heartbeat = heartbeat
        self._worker_id = worker_id
        self._on_end = on_end
        self._database = context.database
        self._reserve = context.reserve
        self._shortages = FailureEpisode(_logger, "no task is claimed: the disk is full", "tasks are claimed again")
        self._affinity_wait_s = context.settings.scheduler.affinity_wait_s
        self._weightless = frozenset(model.id for model in context.catalog if model.engine != "diffusers")
        self._rule = RetryRule.from_settings(context.settings.scheduler)

    async def claim(self, message: DispatchMessage) -> "Attempt | Snooze | None":
        """Claims the task of a dispatch message. Raises `Unavailable` while the database is away.

        Returns the attempt to run, a snooze if other workers should take the task, or None for an old message.
        """
        await self._report_finishing()
        if (shortage := self._reserve.find_shortage()) is not None:
            self._shortages.fail(StorageFull(shortage.explain()))
            return Snooze(_SNOOZE_S)
        self._shortages.end()
        try:
            return await self._try_claim(message)
        except NewerVersionError:
            _logger.warning("a task was skipped: only a newer version can read it", task_id=message.task_id)
        except _NotServedHere as model:
            _logger.info(
                "a clip was skipped: this worker does not serve its model", task_id=message.task_id, model=str(model)
            )
        async with self._database.write() as uow:
            await snooze(uow, message.task_id, message.dispatch_seq, for_s=_SNOOZE_S)
        return Snooze(_SNOOZE_S)

    async def _try_claim(self, message: DispatchMessage) -> "Attempt | Snooze | None":
        since_s = time.monotonic()
        async with self._database.write() as uow:
            if not await may_claim(uow.session, self._worker_id):
                return Snooze(_DRAINING_S)
            if await self._should_snooze(uow, message):
                return Snooze(self._affinity_wait_s)
            claimed = await claim(
                uow,
                message.task_id,
                message.dispatch_seq,
                worker_id=self._worker_id,
                lease_s=self._heartbeat.terms.lease_s,
            )
            if claimed is None:
                return None
            # An error rolls the claim back.
            self._check_served(claimed)
        lease = self._heartbeat.add(claimed, since_s=since_s)
        return Attempt(self._context, self._heartbeat, self._rule, self._on_end, lease)

    async def _report_finishing(self) -> None:
        """Reports which clips have given their slot back, before another claim lets more tasks run than slots exist."""
        leases = [lease for lease in self._heartbeat.held_leases() if lease.has_unreported_finish]
        if leases:
            stages = {lease.claim.task_id: lease.stage for lease in leases}
            async with self._database.write() as uow:
                await renew_leases(
                    uow,
                    worker_id=self._worker_id,
                    task_ids=list(stages),
                    lease_s=self._heartbeat.terms.lease_s,
                    stages=stages,
                )
            for lease in leases:
                lease.reported_stage = stages[lease.claim.task_id]

    def _check_served(self, claimed: Claim) -> None:
        """Checks today's entry of the model. A render with stored fields that cannot be used fails with the reason."""
        if claimed.kind is TaskKind.RENDER and isinstance(claimed.request, ResolvedReel):
            catalog = self._context.catalog
            model = catalog.find(claimed.request.model)
            if model is None or not self._context.engines.can_serve(model, catalog.needed_adapters(model)):
                raise _NotServedHere(claimed.request.model)

    async def _should_snooze(self, uow: UnitOfWork, message: DispatchMessage) -> bool:
        held = self._weightless.union(self._context.engines.loaded_models())
        return self._affinity_wait_s > 0 and await skip_for_affinity(
            uow,
            message.task_id,
            message.dispatch_seq,
            worker_id=self._worker_id,
            loaded_models=held,
            wait_s=self._affinity_wait_s,
        )


@dataclass(frozen=True)
class Attempt:
    """One attempt at a claimed task: the work, and the record of its outcome. `on_end` as in `Runner`."""

    context: WorkerContext
    heartbeat: LeaseHeartbeat
    rule: RetryRule
    on_end: OnEnd
    lease: HeldLease

    async def run(self, release_slot: ReleaseSlot) -> None:
        """Does the work and records how it ended. Gives the lease back, and raises nothing."""
        claimed = self.lease.claim
        with log_context(
            request_id=claimed.request_id,
            job_id=claimed.job_id,
            task_id=claimed.task_id,
            attempt=claimed.attempt,
            **trace_fields(claimed.traceparent),
        ):
            span = start_attempt_span(claimed, self.lease.claim_span_s)
            with collect_lines() as collected:
                outcome = await self._find_outcome(release_slot)
            record = _record_of(self.lease, collected)
            try:
                with self.lease.pause_stall_timer():
                    await self._record(outcome, record)
            finally:
                self.heartbeat.remove(self.lease)
                end_attempt_span(span, self.lease.timeline, outcome=type(outcome).__name__, error=_code_of(outcome))
        self.on_end(outcome)

    async def _find_outcome(self, release_slot: ReleaseSlot) -> AttemptOutcome:
        # If the work hangs, this is its only line in the log until it is stopped.
        _logger.info("the attempt began", **_describe_attempt(self.lease.claim))
        try:
            return Succeeded(await self._execute(release_slot))
        except (Exception, RenderStopped) as error:  # noqa: BLE001 - every error must become an outcome of the task
            outcome = outcome_of(error, self.lease.stop.reason, self.lease.stage)
            _log(outcome, error)
            return outcome

    async def _execute(self, release_slot: ReleaseSlot) -> AttemptOutput:
        match self.lease.claim.kind:
            case TaskKind.RENDER:
                return await render_clip(self.context, self.lease, release_slot)
            case TaskKind.NARRATE:
                return await narrate(self.context, self.lease)
            case TaskKind.SOUNDTRACK:
                return await make_soundtrack(self.context, self.lease)
            case TaskKind.ASSEMBLE:
                return await self._assemble()
            case TaskKind.SEGMENT:
                return await make_segments(self.context, self.lease)
            case TaskKind.LIPSYNC:
                # It needs numpy, which starts threads: a process that is forked must not have any.
                from phoenix.worker.lipsyncs import sync_lips  # noqa: PLC0415

                return await sync_lips(self.context, self.lease)

    async def _assemble(self) -> AttemptOutput:
        if not isinstance(self.lease.claim.request, ResolvedLipsync):
            return await assemble(self.context, self.lease)
        from phoenix.worker.lipsyncs.joining import join_lipsync  # noqa: PLC0415 - like its parts

        return await join_lipsync(self.context, self.lease)

    async def _record(self, outcome: AttemptOutcome, record: AttemptRecord) -> None:
        """Retries until the outcome is in the database, or the lease is lost."""

        async def attempt() -> None:
            async with self.context.database.write() as uow:
                await record_outcome(uow, self.lease.claim, outcome, self.rule, self.lease.stage, record)

        try:
            await retry_until_available(attempt)
        except LeaseLost:
            _logger.warning("the lease was lost; the result of the attempt is discarded")
        except Exception:
            # The worker must survive the error. The lease will expire, and the lease reaper will recover the task.
            _logger.exception("the outcome of an attempt could not be recorded")


async def record_outcome(
    uow: UnitOfWork,
    claimed: Claim,
    outcome: AttemptOutcome,
    rule: RetryRule,
    stage: Stage,
    record: AttemptRecord = NO_RECORD,
) -> None:
    """Writes the outcome of an attempt that ended in `stage`. Raises `LeaseLost` if it no longer holds the task."""
    match outcome:
        case Succeeded(result):
            await succeed(uow, claimed, result, record)
        case Failed(failure):
            await fail(uow, claimed, failure, rule, record, jitter=random.random())
        case Stopped(StopReason.PREEMPT):
            await release(uow, claimed, record)
        case Stopped(StopReason.CANCEL | StopReason.DEADLINE):
            await stop(uow, claimed, stage, record)
        case Stopped():
            raise LeaseLost


def _code_of(outcome: AttemptOutcome) -> str | None:
    return outcome.failure.code.value if isinstance(outcome, Failed) else None


def _record_of(lease: HeldLease, collected: LineCollector) -> AttemptRecord:
    return AttemptRecord(lease.timeline.seconds(), tuple(collected.lines()), lease.peak_memory_bytes)


def _describe_attempt(claimed: Claim) -> dict[str, str | int]:
    """The part of the job that an attempt works on, as fields of a log line."""
    if claimed.kind is TaskKind.RENDER and isinstance(claimed.request, ResolvedReel):
        return {"kind": claimed.kind.value, "clip_index": claimed.position, "model": claimed.request.model}
    return {"kind": claimed.kind.value}


def _log(outcome: Failed | Stopped, error: BaseException) -> None:
    if isinstance(outcome, Stopped):
        _logger.info("the attempt was stopped", reason=outcome.reason.value)
    elif isinstance(error, TaskFailed):
        failure = outcome.failure
        _logger.warning("the attempt failed", code=failure.code.value, stage=failure.stage.value, error=failure.detail)
    else:
        _logger.error("the attempt failed unexpectedly", exc_info=error)
