"""What a result was made of: the manifest of a job."""

from fastapi import APIRouter

from phoenix.api.dependencies import AppStateDep, DatabaseDep, JobViewsDep, OwnerDep
from phoenix.api.http.declarations import JobIdInPath
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import JobManifest
from phoenix.jobs.provenance.manifest import read_manifest
from phoenix.jobs.repository import get_full_job

router = APIRouter(tags=["jobs"], route_class=StrictRoute)


@router.head("/v1/jobs/{job_id}/manifest", include_in_schema=False)
@router.get("/v1/jobs/{job_id}/manifest")
async def get_manifest(
    state: AppStateDep, database: DatabaseDep, job_views: JobViewsDep, owner: OwnerDep, job_id: JobIdInPath
) -> JobManifest:
    """Show what a result was made of.

    The resolved request, each seed and content key, the SHA-256 of all files that were read and made, and the versions
    of the software. `replay` is a request for the same result. 409 until the job has succeeded.
    """
    view = await job_views.fetch(job_id, owner)
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=owner)
        return await read_manifest(session, job, view, state.services.catalog)
