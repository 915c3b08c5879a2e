"""Pauses of queues, models and keys. For administrators."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from phoenix.access.audit import Act, Actor, audited_write
from phoenix.access.keys import ANYBODY, get_key_locked
from phoenix.api.dependencies import AppStateDep, AuthFirstRoute, OperatorDep
from phoenix.api.steering.job_acts import AdminActorDep
from phoenix.contract import Pause, PauseKind, PauseList, PauseRequest, QueueName
from phoenix.db import Database
from phoenix.jobs.scheduling.pauses import pause, read_pauses, resume, view_pause

router = APIRouter(tags=["fleet"], route_class=AuthFirstRoute)

QueueInPath = Annotated[QueueName, Path(description="Name of a queue.")]
ModelInPath = Annotated[str, Path(description="Id of a model.")]
KeyInPath = Annotated[str, Path(description="Id of a key; `anonymous` on a server without keys.")]
NO_REASON = PauseRequest()


@router.head("/v1/pauses", include_in_schema=False)
@router.get("/v1/pauses")
async def list_pauses(state: AppStateDep, _operator: OperatorDep) -> PauseList:
    """List what is paused.

    With the reason, the time and the key of each pause. Requires the scope `operator` or `admin`.
    """
    async with state.services.database.read() as session:
        pauses = await read_pauses(session)
    return PauseList(data=[view_pause(row) for row in pauses.rows.values()])


@router.post("/v1/queues/{queue}/pause")
async def pause_queue(
    state: AppStateDep, actor: AdminActorDep, queue: QueueInPath, request: PauseRequest = NO_REASON
) -> Pause:
    """Pause a queue.

    None of its tasks starts until it is resumed; what runs ends as usual, and jobs are still accepted. Pausing again
    changes the reason. Requires the scope `admin`.
    """
    return await _pause(state.services.database, PauseKind.QUEUE, queue, request, actor)


@router.post("/v1/queues/{queue}/resume", status_code=204)
async def resume_queue(state: AppStateDep, actor: AdminActorDep, queue: QueueInPath) -> Response:
    """Resume a queue.

    Harmless if it is not paused. Requires the scope `admin`.
    """
    return await _resume(state.services.database, PauseKind.QUEUE, queue, actor)


@router.post("/v1/models/{model_id}/pause")
async def pause_model(
    state: AppStateDep, actor: AdminActorDep, model_id: ModelInPath, request: PauseRequest = NO_REASON
) -> Pause:
    """Pause a model.

    No clip of it starts until it is resumed; clips that are rendered end as usual. Requires the scope `admin`.
    """
    state.services.catalog.get(model_id)
    return await _pause(state.services.database, PauseKind.MODEL, model_id, request, actor)


@router.post("/v1/models/{model_id}/resume", status_code=204)
async def resume_model(state: AppStateDep, actor: AdminActorDep, model_id: ModelInPath) -> Response:
    """Resume a model.

    Harmless if it is not paused. Requires the scope `admin`.
    """
    # An entry that has left the catalog can still be resumed: its jobs wait.
    return await _resume(state.services.database, PauseKind.MODEL, model_id, actor)


@router.post("/v1/keys/{key_id}/pause")
async def pause_key(
    state: AppStateDep, actor: AdminActorDep, key_id: KeyInPath, request: PauseRequest = NO_REASON
) -> Pause:
    """Pause a key.

    Nothing that it has made starts until it is resumed. The key itself stays valid. Requires the scope `admin`.
    """
    return await _pause(state.services.database, PauseKind.KEY, key_id, request, actor)


@router.post("/v1/keys/{key_id}/resume", status_code=204)
async def resume_key(state: AppStateDep, actor: AdminActorDep, key_id: KeyInPath) -> Response:
    """Resume a key.

    Harmless if it is not paused. Requires the scope `admin`.
    """
    return await _resume(state.services.database, PauseKind.KEY, key_id, actor)


async def _pause(database: Database, kind: PauseKind, name: str, request: PauseRequest, actor: Actor) -> Pause:
    details = {"reason": request.reason} if request.reason else {}
    act = Act(actor, f"{kind.value}.pause", name, name if kind is PauseKind.KEY else None, details)
    async with audited_write(database, act) as uow:
        if kind is PauseKind.KEY and name != ANYBODY.owner_id:
            await get_key_locked(uow, name)
        return await pause(uow, kind, name, reason=request.reason, paused_by=actor.key_id or ANYBODY.owner_id)


async def _resume(database: Database, kind: PauseKind, name: str, actor: Actor) -> Response:
    act = Act(actor, f"{kind.value}.resume", name, name if kind is PauseKind.KEY else None)
    async with audited_write(database, act) as uow:
        await resume(uow, kind, name)
    return Response(status_code=204)
