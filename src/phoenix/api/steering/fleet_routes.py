"""Orders to workers: drain, resume, unload a model. For administrators."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from phoenix.access.audit import Act, audited_write
from phoenix.api.dependencies import AppStateDep, AuthFirstRoute, DatabaseDep
from phoenix.api.steering.job_acts import AdminActorDep
from phoenix.contract.steering import ModelUnload, UnloadRequest
from phoenix.errors import Conflict
from phoenix.jobs.scheduling import worker_orders

router = APIRouter(tags=["fleet"], route_class=AuthFirstRoute)

# PostgreSQL takes no NUL in a query.
WorkerInPath = Annotated[str, Path(description="Id of a live worker: wrk_…", pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ModelInPath = Annotated[str, Path(description="Id of a model.", max_length=128)]
EVERY_WORKER = UnloadRequest()


@router.post("/v1/workers/{worker_id}/drain", status_code=204)
async def drain_worker(database: DatabaseDep, actor: AdminActorDep, worker_id: WorkerInPath) -> Response:
    """Drain a worker.

    It claims nothing more from now on, and finishes what it runs: its `state` is `draining`, and then `drained`. Its
    process stays, with its models in memory, until it is resumed or ended. Requires the scope `admin`.
    """
    async with audited_write(database, Act(actor, "worker.drain", worker_id)) as uow:
        await worker_orders.drain_worker(uow, worker_id)
    return Response(status_code=204)


@router.post("/v1/workers/{worker_id}/resume", status_code=204)
async def resume_worker(database: DatabaseDep, actor: AdminActorDep, worker_id: WorkerInPath) -> Response:
    """Resume a worker.

    It claims tasks again within a few seconds. Harmless if it is not drained. Requires the scope `admin`.
    """
    async with audited_write(database, Act(actor, "worker.resume", worker_id)) as uow:
        await worker_orders.resume_worker(uow, worker_id)
    return Response(status_code=204)


@router.post("/v1/models/{model_id}/unload", status_code=202)
async def unload_model(
    state: AppStateDep,
    database: DatabaseDep,
    actor: AdminActorDep,
    model_id: ModelInPath,
    request: UnloadRequest = EVERY_WORKER,
) -> ModelUnload:
    """Unload a model.

    Each worker that has it in memory drops it, and frees its memory, as soon as no clip needs it. `unloading` of a
    worker shows what is left to do. A later clip loads the model again: pause the model to prevent this. Requires the
    scope `admin`.
    """
    if state.services.catalog.get(model_id).engine != "diffusers":
        raise Conflict(f"The model {model_id} has no weights in the memory of a worker.")
    details = {"worker_id": request.worker_id} if request.worker_id else {}
    async with audited_write(database, Act(actor, "model.unload", model_id, details=details)) as uow:
        workers = await worker_orders.unload_model(uow, model_id, worker_id=request.worker_id)
    return ModelUnload(model=model_id, workers=list(workers))
