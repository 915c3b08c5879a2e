"""Artifacts: the metadata of stored files."""

from fastapi import APIRouter

from phoenix.api.dependencies import OwnerDep, ServicesDep
from phoenix.api.http.parameters import ArtifactIdInPath
from phoenix.contract.artifacts import Artifact
from phoenix.jobs import repository
from phoenix.jobs.views import view_artifact

router = APIRouter(tags=["artifacts"])


@router.head("/v1/artifacts/{artifact_id}", include_in_schema=False)
@router.get("/v1/artifacts/{artifact_id}")
async def get_artifact(services: ServicesDep, owner: OwnerDep, artifact_id: ArtifactIdInPath) -> Artifact:
    """Show an artifact.

    An upload, a clip or a result, with what probing found in it.
    """
    async with services.database.read() as session:
        return view_artifact(await repository.get_artifact(session, artifact_id, owner_id=owner))
