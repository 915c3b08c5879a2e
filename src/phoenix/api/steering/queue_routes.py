"""The order of a queue. For administrators and operators."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from phoenix.api.dependencies import JobViewsDep, OperatorDep
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import PageLimit, QueueName
from phoenix.contract.steering import QueuedJobList

router = APIRouter(tags=["fleet"], route_class=StrictRoute)


@router.head("/v1/queues/{queue}/jobs", include_in_schema=False)
@router.get("/v1/queues/{queue}/jobs")
async def list_queued_jobs(
    job_views: JobViewsDep,
    _operator: OperatorDep,
    queue: Annotated[QueueName, Path(description="Name of a queue.")],
    limit: Annotated[PageLimit, Query()] = 20,
) -> QueuedJobList:
    """List what starts next in a queue.

    The jobs of all keys whose tasks wait for their turn, in the order in which they start, with the reason why each one
    waits. Jobs of a paused model or key have no turn, and are left out. Requires the scope `operator` or `admin`.
    """
    return await job_views.view_next(queue, limit=limit)
