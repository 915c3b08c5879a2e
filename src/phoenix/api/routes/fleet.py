"""The queues and the workers, for operators and their dashboards."""

from fastapi import APIRouter

from phoenix.access.keys import Scope
from phoenix.api.dependencies import CallerDep, ServicesDep
from phoenix.contract.fleet import QueueView, WorkerList
from phoenix.jobs.scheduling.workers import view_queue, view_workers

router = APIRouter(tags=["fleet"])


@router.head("/v1/queue", include_in_schema=False)
@router.get("/v1/queue")
async def get_queue(services: ServicesDep, _caller: CallerDep) -> QueueView:
    """Show the queues.

    How many tasks wait and run, how many the live workers can run at once, and how long the oldest has waited.
    """
    async with services.database.read() as session:
        return await view_queue(session)


@router.head("/v1/workers", include_in_schema=False)
@router.get("/v1/workers")
async def list_workers(services: ServicesDep, caller: CallerDep) -> WorkerList:
    """List the live workers.

    With their device, its memory, the models they hold and the jobs they work for: your own, or all of them with
    the scope `admin`.
    """
    owner_id = None if Scope.ADMIN in caller.scopes else caller.owner_id
    async with services.database.read() as session:
        return WorkerList(data=await view_workers(session, owner_id=owner_id))
