"""Answers a doorbell: claims the task, does it, and records its ending under the fence."""

import errno
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from phoenix.contract.resolved import ResolvedReel
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.engine.cancellation import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed, WrittenByNewer
from phoenix.jobs.execution.claim import Claim, claim
from phoenix.jobs.execution.completion import Result, fail, release, stop, succeed
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.lifecycle import LeaseLost, TaskKind
from phoenix.jobs.scheduling.affinity import leave_to_others
from phoenix.jobs.scheduling.dispatch import put_off
from phoenix.queues.queue import Doorbell, FreeSlot, LeftToOthers, Work
from phoenix.telemetry.logs import get_logger, log_context
from phoenix.telemetry.traces import trace_fields
from phoenix.worker.assemble import assemble
from phoenix.worker.context import Workshop
from phoenix.worker.leases import Lease, LeaseKeeper
from phoenix.worker.render import render_clip
from phoenix.worker.retry import until_available
from phoenix.worker.soundtrack import make_soundtrack


@dataclass(frozen=True)
class Succeeded:
    result: Result


@dataclass(frozen=True)
class Failed:
    failure: TaskFailed


@dataclass(frozen=True)
class Stopped:
    reason: StopReason


Ending = Succeeded | Failed | Stopped


def ending_of(error: BaseException, asked: StopReason | None) -> Failed | Stopped:
    """The ending of an attempt that raised `error`. `asked`: the reason of a stop, if one was asked for.

    A stop explains any error: an encoder that is killed raises one, and an engine may wrap a stop.
    """
    reason = asked or (error.reason if isinstance(error, RenderStopped) else None)
    if reason is StopReason.STALLED:
        detail = "nothing moved for too long, and it was given up"
        return Failed(TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE, retriable=True))
    if reason is not None:
        return Stopped(reason)
    if isinstance(error, TaskFailed):
        return Failed(error)
    return Failed(_unexpected(error))


def _unexpected(error: BaseException) -> TaskFailed:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TaskFailed(FailureCode.STORAGE_FAILED, "the worker's disk is full", stage=Stage.UPLOAD, retriable=True)
    # The text may contain internal paths or data: it goes to the log, and only the type to the job's owner.
    detail = f"an unexpected {type(error).__name__} ended the attempt"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE, retriable=True)


_logger = get_logger(__name__)

_LOOK_AGAIN_S = 10.0
"""How long a task that this worker cannot do is left to those that can, before this one looks at it again."""

OnEnd = Callable[[Ending], None]


class _NotServedHere(Exception):
    """This worker lacks the model's weights, its engine or its key."""


class Runner:
    """Does the tasks of one worker process. `on_end` is called after each attempt, when its ending is recorded."""

    def __init__(self, shop: Workshop, keeper: LeaseKeeper, worker_id: str, on_end: OnEnd) -> None:
        self._shop = shop
        self._keeper = keeper
        self._worker_id = worker_id
        self._on_end = on_end
        self._database = shop.services.database
        self._affinity_wait_s = shop.services.settings.scheduler.affinity_wait_s
        catalog = shop.services.catalog
        self._weightless = frozenset(model.id for model in catalog if model.engine != "diffusers")
        self._rule = RetryRule.from_settings(shop.services.settings.scheduler)

    async def accept(self, doorbell: Doorbell) -> Work | LeftToOthers | None:
        """Claims the task of a doorbell, or leaves it. Raises `Unavailable` while the database is away."""
        try:
            return await self._claim(doorbell)
        except WrittenByNewer:
            _logger.warning("a task was left to a worker of a newer version", task_id=doorbell.task_id)
        except _NotServedHere as model:
            _logger.info(
                "a clip was left to a worker that serves its model", task_id=doorbell.task_id, model=str(model)
            )
        async with self._database.write() as uow:
            await put_off(uow, doorbell.task_id, doorbell.dispatch, for_s=_LOOK_AGAIN_S)
        return LeftToOthers(_LOOK_AGAIN_S)

    async def _claim(self, doorbell: Doorbell) -> Work | LeftToOthers | None:
        since_s = time.monotonic()
        async with self._database.write() as uow:
            if await self._is_for_others(uow, doorbell):
                return LeftToOthers(self._affinity_wait_s)
            claimed = await claim(
                uow,
                doorbell.task_id,
                doorbell.dispatch,
                worker_id=self._worker_id,
                lease_s=self._keeper.terms.lease_s,
            )
            if claimed is None:
                return None
            # Raises, so that the claim is rolled back.
            self._check_served(claimed)
        return partial(self._work, self._keeper.hold(claimed, since_s=since_s))

    def _check_served(self, claimed: Claim) -> None:
        if claimed.kind is TaskKind.RENDER and isinstance(claimed.request, ResolvedReel):
            model = self._shop.services.catalog.find(claimed.request.model)
            if model is None or not self._shop.engines.can_serve(model):
                raise _NotServedHere(claimed.request.model)

    async def _is_for_others(self, uow: UnitOfWork, doorbell: Doorbell) -> bool:
        held = self._weightless.union(self._shop.engines.loaded_models())
        return self._affinity_wait_s > 0 and await leave_to_others(
            uow,
            doorbell.task_id,
            doorbell.dispatch,
            worker_id=self._worker_id,
            held=held,
            wait_s=self._affinity_wait_s,
            worker_timeout_s=self._keeper.terms.lease_s,
        )

    async def _work(self, lease: Lease, free_slot: FreeSlot) -> None:
        claimed = lease.claim
        with log_context(
            request_id=claimed.request_id,
            job_id=claimed.job_id,
            task_id=claimed.task_id,
            attempt=claimed.attempt,
            **trace_fields(claimed.traceparent),
        ):
            ending = await self._do(lease, free_slot)
            try:
                with lease.resting():
                    await self._report(claimed, ending)
            finally:
                self._keeper.drop(lease)
        self._on_end(ending)

    async def _do(self, lease: Lease, free_slot: FreeSlot) -> Ending:
        # Of work that hangs, this is the only line until it is given up.
        _logger.info("the attempt began", **_piece(lease.claim))
        try:
            return Succeeded(await self._make(lease, free_slot))
        except (Exception, RenderStopped) as error:  # noqa: BLE001 - whatever it is, the task must hear of it
            ending = ending_of(error, lease.stop.reason)
            _log(ending, error)
            return ending

    async def _make(self, lease: Lease, free_slot: FreeSlot) -> Result:
        match lease.claim.kind:
            case TaskKind.RENDER:
                return await render_clip(self._shop, lease, free_slot)
            case TaskKind.SOUNDTRACK:
                return await make_soundtrack(self._shop, lease)
            case TaskKind.ASSEMBLE:
                return await assemble(self._shop, lease)

    async def _report(self, claimed: Claim, ending: Ending) -> None:
        """Retries until the ending is in SQL, or another worker has the task."""

        async def attempt() -> None:
            async with self._database.write() as uow:
                await record(uow, claimed, ending, self._rule)

        try:
            await until_available(attempt)
        except LeaseLost:
            _logger.warning("the lease was lost; what this attempt made is void")
        except Exception:
            # The lease will lapse, and the sweeper take the task back: an error here must not take the worker down.
            _logger.exception("the end of an attempt could not be recorded")


async def record(uow: UnitOfWork, claimed: Claim, ending: Ending, rule: RetryRule) -> None:
    """Writes how an attempt ended. Raises `LeaseLost` if the task is no longer this attempt's."""
    match ending:
        case Succeeded(result):
            await succeed(uow, claimed, result)
        case Failed(failure):
            await fail(uow, claimed, failure, rule, jitter=random.random())
        case Stopped(StopReason.PREEMPT):
            await release(uow, claimed)
        case Stopped(StopReason.CANCEL | StopReason.DEADLINE):
            await stop(uow, claimed)
        case Stopped():
            raise LeaseLost


def _piece(claimed: Claim) -> dict[str, str | int]:
    """Which part of its job an attempt is at, for a log line."""
    if claimed.kind is TaskKind.RENDER and isinstance(claimed.request, ResolvedReel):
        return {"kind": claimed.kind.value, "clip_index": claimed.position, "model": claimed.request.model}
    return {"kind": claimed.kind.value}


def _log(ending: Failed | Stopped, error: BaseException) -> None:
    if isinstance(ending, Stopped):
        _logger.info("the attempt was stopped", reason=ending.reason.value)
    elif isinstance(error, TaskFailed):
        failure = ending.failure
        _logger.warning("the attempt failed", code=failure.code.value, stage=failure.stage.value, error=failure.detail)
    else:
        _logger.error("the attempt failed unexpectedly", exc_info=error)
