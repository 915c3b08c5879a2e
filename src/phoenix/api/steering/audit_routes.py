"""The audit log by HTTP. For administrators and operators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from phoenix.access.audit import AuditFilter, list_acts
from phoenix.api.dependencies import DatabaseDep, OperatorDep
from phoenix.api.http.declarations import PAGE_LISTED, PageCursor, SearchText, link_next_page
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import Instant, Omittable, PageLimit, Text
from phoenix.contract.steering import AuditPage
from phoenix.jobs.repository import decode_cursor, encode_cursor

router = APIRouter(tags=["fleet"], route_class=StrictRoute)

ActionName = Annotated[Text, Field(max_length=64)]


async def get_audit_filter(
    actor: Annotated[Omittable[SearchText], Query(description="Id of the key that acted.")] = None,
    action: Annotated[Omittable[ActionName], Query(description="Such as `job.cancel`.")] = None,
    target: Annotated[Omittable[SearchText], Query(description="Id or name of what was acted on.")] = None,
    owner: Annotated[Omittable[SearchText], Query(description="Id of the key that owns the target.")] = None,
    after: Omittable[Instant] = None,
    before: Omittable[Instant] = None,
) -> AuditFilter:
    return AuditFilter(actor, action, target, owner, after, before)


@router.head("/v1/audit", include_in_schema=False)
@router.get("/v1/audit", responses=PAGE_LISTED)
async def list_audit(
    request: Request,
    response: Response,
    database: DatabaseDep,
    _operator: OperatorDep,
    wanted: Annotated[AuditFilter, Depends(get_audit_filter)],
    limit: Annotated[PageLimit, Query()] = 50,
    cursor: PageCursor = None,
) -> AuditPage:
    """List what administrators did, newest first.

    Every act on the work of another key, on queues, models, workers and keys, refused acts included, with the key
    and the address that it came from. Requires the scope `operator` or `admin`.
    """
    before_id = decode_cursor(cursor, prefix="act_") if cursor is not None else None
    entries, has_more = await list_acts(database, wanted, limit=limit, before_id=before_id)
    next_cursor = encode_cursor(entries[-1].id) if has_more else None
    link_next_page(request, response, next_cursor)
    return AuditPage(data=list(entries), has_more=has_more, next_cursor=next_cursor)
