"""Routes of webhooks: the signing secret, and the state of each delivery."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from phoenix.access.keys import Scope
from phoenix.api.dependencies import CallerDep, DatabaseDep, OwnerDep
from phoenix.api.http.declarations import DeliveryIdInPath
from phoenix.contract import Omittable, PageLimit, WebhookDelivery, WebhookDeliveryPage, WebhookSecret
from phoenix.ids import DELIVERY_ID_PATTERN, JOB_ID_PATTERN
from phoenix.jobs.webhooks import outbox
from phoenix.jobs.webhooks.signing_secrets import SigningSecrets, get_secret, rotate_secret
from phoenix.jobs.webhooks.tables import WebhookDeliveryRow

router = APIRouter(tags=["webhooks"])


@router.head("/v1/webhooks/secret", include_in_schema=False)
@router.get("/v1/webhooks/secret")
async def get_webhook_secret(response: Response, database: DatabaseDep, caller: CallerDep) -> WebhookSecret:
    """Show the secret.

    The secret signs every webhook, by the Standard Webhooks specification. It is generated on first use. Requires the
    scopes `read` and `write`: anyone who knows the secret can forge webhooks.
    """
    caller.check(Scope.WRITE)
    return _view_secret(response, await get_secret(database, caller.owner_id))


@router.post("/v1/webhooks/secret/rotate")
async def rotate_webhook_secret(response: Response, database: DatabaseDep, owner: OwnerDep) -> WebhookSecret:
    """Replace the secret.

    For 24 hours webhooks carry two signatures, by the new secret and the previous one, so that receivers can be
    updated one by one.
    """
    async with database.write() as uow:
        secrets = await rotate_secret(uow, owner)
    return _view_secret(response, secrets)


@router.head("/v1/webhooks/deliveries", include_in_schema=False)
@router.get("/v1/webhooks/deliveries")
async def list_webhook_deliveries(
    database: DatabaseDep,
    owner: OwnerDep,
    job_id: Annotated[Omittable[Annotated[str, Query(pattern=JOB_ID_PATTERN)]], Query()] = None,
    limit: Annotated[PageLimit, Query()] = 20,
    cursor: Annotated[
        Omittable[Annotated[str, Query(pattern=DELIVERY_ID_PATTERN)]],
        Query(description="`next_cursor` of the last page."),
    ] = None,
) -> WebhookDeliveryPage:
    """List deliveries, newest first.

    With the outcome of the last try, and the time of the next one.
    """
    async with database.read() as session:
        rows = await outbox.list_deliveries(session, owner_id=owner, job_id=job_id, before_id=cursor, limit=limit + 1)
    has_more = len(rows) > limit
    page = [_view_delivery(row) for row in rows[:limit]]
    return WebhookDeliveryPage(data=page, has_more=has_more, next_cursor=page[-1].id if has_more else None)


@router.post("/v1/webhooks/deliveries/{delivery_id}/replay", status_code=202)
async def replay_webhook_delivery(
    database: DatabaseDep, owner: OwnerDep, delivery_id: DeliveryIdInPath
) -> WebhookDelivery:
    """Send a delivery again.

    The same body with the same `webhook-id`. If the URL had responded with 410, webhooks are sent to it again.
    """
    async with database.write() as uow:
        row = await outbox.replay(uow, delivery_id, owner_id=owner)
    return _view_delivery(row)


def _view_secret(response: Response, secrets: SigningSecrets) -> WebhookSecret:
    response.headers["Cache-Control"] = "no-store"
    return WebhookSecret(
        secret=secrets.current, created_at=secrets.created_at, previous_valid_until=secrets.previous_until
    )


def _view_delivery(row: WebhookDeliveryRow) -> WebhookDelivery:
    return WebhookDelivery.model_validate({**row.model_dump(), "next_attempt_at": outbox.next_attempt_at(row)})
