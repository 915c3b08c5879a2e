"""The key of the request. Keys are made, changed and ended by `phoenix keys`, on the server."""

from fastapi import APIRouter, Response

from phoenix.api.dependencies import CallerDep, DatabaseDep, SettingsDep
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.uploads import quota_of
from phoenix.contract import ApiKey
from phoenix.jobs.submission.admission_control import count_stored_bytes

router = APIRouter(tags=["keys"], route_class=StrictRoute)


@router.head("/v1/key", include_in_schema=False)
@router.get("/v1/key")
async def get_key(response: Response, settings: SettingsDep, database: DatabaseDep, caller: CallerDep) -> ApiKey:
    """Show your key.

    Its scopes, its end, and how much it stores of what it may store.
    """
    quota = quota_of(caller, settings.limits)
    async with database.read() as session:
        stored_bytes = await count_stored_bytes(session, caller.owner_id)
    response.headers["Cache-Control"] = "no-store"
    return ApiKey(
        id=caller.owner_id,
        scopes=sorted(caller.scopes),
        expires_at=caller.expires_at,
        stored_bytes=stored_bytes,
        max_stored_bytes=(quota.max_stored_bytes or None) if quota else None,
    )
