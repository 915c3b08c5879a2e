"""The shares of keys in the fleet: weights in the fair queue, and limits. For administrators."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from phoenix.access.audit import Act, audited_write
from phoenix.access.keys import ANYBODY, get_key_locked
from phoenix.api.dependencies import AuthFirstRoute, DatabaseDep, OperatorDep
from phoenix.api.steering.job_acts import AdminActorDep
from phoenix.contract.steering import KeyShare, KeyShareList, KeyShareRequest
from phoenix.jobs.scheduling.shares import read_shares, remove_share, set_share, view_share

router = APIRouter(tags=["fleet"], route_class=AuthFirstRoute)

KeyInPath = Annotated[str, Path(description="Id of a key; `anonymous` on a server without keys.")]


@router.head("/v1/shares", include_in_schema=False)
@router.get("/v1/shares")
async def list_shares(database: DatabaseDep, _operator: OperatorDep) -> KeyShareList:
    """List the shares of keys.

    The keys that an administrator has given a weight or a limit. Requires the scope `operator` or `admin`.
    """
    async with database.read() as session:
        shares = await read_shares(session)
    return KeyShareList(data=[view_share(row) for row in shares.rows.values()])


@router.put("/v1/keys/{key_id}/share")
async def set_key_share(
    database: DatabaseDep, actor: AdminActorDep, key_id: KeyInPath, request: KeyShareRequest
) -> KeyShare:
    """Set the share of a key.

    Its weight in the fair queue, and how many of its clips run at a time, of all models and of one. A clip beyond a
    limit waits, and clips of other keys and models start before it. What is left out is as for every key. Requires the
    scope `admin`.
    """
    act = Act(actor, "key.share", key_id, key_id, request.model_dump(exclude_none=True))
    async with audited_write(database, act) as uow:
        if key_id != ANYBODY.owner_id:
            await get_key_locked(uow, key_id)
        return await set_share(uow, key_id, request)


@router.delete("/v1/keys/{key_id}/share", status_code=204)
async def remove_key_share(database: DatabaseDep, actor: AdminActorDep, key_id: KeyInPath) -> Response:
    """Remove the share of a key.

    It has what every key has. Harmless if it has no share of its own. Requires the scope `admin`.
    """
    async with audited_write(database, Act(actor, "key.unshare", key_id, key_id)) as uow:
        await remove_share(uow, key_id)
    return Response(status_code=204)
