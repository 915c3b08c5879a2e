"""The catalog, and which of it is served now."""

from fastapi import APIRouter

from phoenix.api.dependencies import Caller, Services
from phoenix.api.running import worker_timeout_s
from phoenix.catalog.views import view_model
from phoenix.contract.models import ModelList
from phoenix.jobs.workers import list_served_models

router = APIRouter(tags=["models"])


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models")
async def list_models(services: Services, _caller: Caller) -> ModelList:
    """List the models.

    What each can do, its defaults, and whether a live worker serves it. Jobs for one that is not served wait.
    """
    timeout_s = worker_timeout_s(services.settings)
    async with services.database.read() as session:
        served = await list_served_models(session, worker_timeout_s=timeout_s)
    return ModelList(data=[view_model(spec, is_served=spec.id in served) for spec in services.catalog])
