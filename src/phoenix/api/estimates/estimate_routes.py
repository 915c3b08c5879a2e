"""The route of estimates."""

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AppStateDep, CallerDep
from phoenix.api.submission import ResolverDep, SubmissionRoute, check_job_limits
from phoenix.contract import Estimate, ReelRequest, ResolvedReel
from phoenix.errors import Unavailable
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import find_earlier_work
from phoenix.jobs.scheduling.durations import read_duration_stats
from phoenix.jobs.scheduling.queue_positions import QueuePositions
from phoenix.jobs.submission.estimates import Prices, estimate_work, plan_job
from phoenix.jobs.views import QueuePosition

router = APIRouter(route_class=SubmissionRoute)

_REELS: dict[str, Example] = {
    "two clips": {
        "value": {
            "clips": [
                {"prompt": "a red balloon at dawn", "seed": 7},
                {"prompt": "the harbour from above"},
            ],
            "duration_s": 3,
        }
    },
    "with its draft": {"value": {"clips": [{"prompt": "a red balloon"}], "hold": "draft"}},
}


@router.post("/v1/estimates", tags=["reels"])
async def estimate_reel(
    body: Annotated[ReelRequest, Body(openapi_examples=_REELS)],
    state: AppStateDep,
    resolver: ResolverDep,
    caller: CallerDep,
) -> Estimate:
    """Estimate a reel.

    Takes what `POST /v1/reels` takes, refuses what it would refuse, and makes no job: the plan of the reel, the clips
    that would be reused, the seconds of device time, the wait, the time until it is done, and the price. A figure that
    nobody knows is null, with the reason under `unknown`.
    """
    owner_id, services, settings = caller.owner_id, state.services, resolver.settings
    resolved = await resolver.resolve(body, owner_id=owner_id)
    assert isinstance(resolved, ResolvedReel)
    draft = await resolver.resolve_draft(body, resolved, owner_id=owner_id)
    services.reserve.check()
    limits = settings.limits
    async with services.database.write() as uow:
        await check_job_limits(uow, caller, limits)
        earlier = find_earlier_work(body, resolved, settings.engine)
        reel = await plan_job(uow, resolved, body, owner_id=owner_id, limits=limits, earlier=earlier)
        durations = await read_duration_stats(uow.session)
        planned_draft = draft and await plan_job(
            uow, draft.resolved, draft.request, owner_id=owner_id, limits=limits, earlier=draft.earlier
        )
    first = planned_draft or reel
    position = await _find_position(services.queue_positions, first)

    def price_of(reel: ResolvedReel) -> Prices:
        model = resolver.catalog.get(reel.model)
        return Prices.from_settings(settings.prices, second_of_video=model.price_per_s, devices=model.devices)

    made = estimate_work(reel, resolved, durations, price_of(resolved), position if first is reel else None)
    of_draft = (
        estimate_work(planned_draft, draft.resolved, durations, price_of(draft.resolved), position)
        if draft and planned_draft
        else None
    )
    return Estimate(**dict(made), draft=of_draft)


async def _find_position(positions: QueuePositions, job: FullJob) -> QueuePosition:
    """The place that the job would get; nothing is known of it while the database is away."""
    try:
        return (await positions.find([job]))[job.row.id]
    except Unavailable:
        return QueuePosition()
