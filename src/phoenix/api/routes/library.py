"""What owners do with jobs to find them again: change titles, tags and metadata, and mark favorites."""

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AuthFirstRoute, DatabaseDep, JobViewsDep, OwnerDep
from phoenix.api.http.conditional import check_if_match
from phoenix.api.http.declarations import IfMatch, JobIdInPath
from phoenix.contract import Job, JobChanges
from phoenix.jobs.library import changes

router = APIRouter(route_class=AuthFirstRoute)

_CHANGES: dict[str, Example] = {
    "a name and tags": {"value": {"title": "Harbour", "tags": ["sea", "dawn"]}},
    "a favorite": {"value": {"favorite": True}},
    "an earlier turn": {"value": {"priority": "high"}},
}


@router.patch("/v1/jobs/{job_id}", tags=["jobs"])
async def change_job(
    body: Annotated[JobChanges, Body(openapi_examples=_CHANGES)],
    database: DatabaseDep,
    job_views: JobViewsDep,
    owner: OwnerDep,
    job_id: JobIdInPath,
    if_match: IfMatch = None,
) -> Job:
    """Change a job.

    Its title, tags and metadata, and whether it is a favorite, in any state; also its priority and how long it may
    wait, while it is queued. What is left out stays as it is. 409 with the field for a change that comes too late.
    """
    async with (
        database.write() as uow,
        check_if_match(uow, job_id, owner_id=owner, if_match=if_match),
    ):
        await changes.change_job(uow, job_id, body, owner_id=owner)
    return await job_views.fetch(job_id, owner)
