"""Statistics of the fleet for operators, and the usage of a key."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from phoenix.api.dependencies import DatabaseDep, OperatorDep
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.steering.owners import WantedOwnerDep
from phoenix.clock import utc_now
from phoenix.contract import Instant, Omittable
from phoenix.contract.history import Stats, StatsBy, StatsStep, Usage
from phoenix.errors import FieldError, InvalidRequest
from phoenix.jobs.history.queries import SECONDS_OF_STEP, StatsWindow, read_usage, write_stats

router = APIRouter(tags=["fleet"], route_class=StrictRoute)

MOST_POINTS = 1500
"""Points of one answer: a day in minutes, two months in hours."""

DEFAULT_STATS, DEFAULT_USAGE = timedelta(days=1), timedelta(days=30)
_EARLIEST = timedelta(days=3650)
_BY_MINUTE, _BY_HOUR = timedelta(hours=6), timedelta(days=14)
"""The longest windows that are shown by minute and by hour, unless the request says otherwise."""

From = Annotated[
    Omittable[Instant], Query(alias="from", description="The start of the window; by default relative to its end.")
]
To = Annotated[Omittable[Instant], Query(description="The end of the window; now by default.")]


@router.head("/v1/stats", include_in_schema=False)
@router.get("/v1/stats", response_model=Stats)
async def get_stats(
    database: DatabaseDep,
    _operator: OperatorDep,
    from_: From = None,
    to: To = None,
    step: Annotated[
        Omittable[StatsStep], Query(description="Length of a period; by default one that suits the window.")
    ] = None,
    by: Annotated[Omittable[StatsBy], Query(description="One series for each queue or model.")] = None,
) -> Response:
    """Show statistics.

    Jobs and attempts that ended, waits and durations with percentiles, failures by code, and how busy the workers were,
    over time and in total. Kept in the database for weeks; what has ended counts within seconds. Requires the scope
    `operator` or `admin`.
    """
    window = find_window(from_, to, step, now=utc_now())
    return Response(await write_stats(database, window, by), media_type="application/json")


@router.head("/v1/usage", include_in_schema=False)
@router.get("/v1/usage")
async def get_usage(database: DatabaseDep, whose: WantedOwnerDep, from_: From = None, to: To = None) -> Usage:
    """Show what was used.

    Jobs, clips, seconds on devices, bytes and seconds of video, by key and day in UTC; of the last 30 days by default.
    Deleted jobs count too.
    """
    start, end = _find_span(from_, to, DEFAULT_USAGE, now=utc_now())
    return await read_usage(database, start, end, owner_id=whose.owner_id)


def find_window(start: datetime | None, end: datetime | None, step: StatsStep | None, *, now: datetime) -> StatsWindow:
    """The window of the request, with a step that suits it. Raises `InvalidRequest`."""
    first, last = _find_span(start, end, DEFAULT_STATS, now=now)
    lasts = last - first
    chosen = step or _choose_step(lasts)
    if lasts / timedelta(seconds=SECONDS_OF_STEP[chosen]) > MOST_POINTS:
        detail = (
            f"the window has more than {MOST_POINTS} periods of a {chosen}; give a longer step or a shorter window."
        )
        raise InvalidRequest.from_field_errors([FieldError("/query/step", detail)])
    return StatsWindow(first, last, chosen)


def _choose_step(lasts: timedelta) -> StatsStep:
    if lasts <= _BY_MINUTE:
        return "minute"
    return "hour" if lasts <= _BY_HOUR else "day"


def _find_span(
    start: datetime | None, end: datetime | None, default: timedelta, *, now: datetime
) -> tuple[datetime, datetime]:
    last = end or now
    first = start or max(last, now - _EARLIEST + default) - default
    if first >= last:
        raise InvalidRequest.from_field_errors([FieldError("/query/from", "the window must begin before it ends.")])
    if first < now - _EARLIEST:
        raise InvalidRequest.from_field_errors(
            [FieldError("/query/from", "the window begins more than ten years ago.")]
        )
    return first, last
