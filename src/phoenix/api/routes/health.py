"""Liveness of this server, and the state of the services behind it."""

from fastapi import APIRouter

from phoenix import __version__
from phoenix.api.dependencies import AppStateDep
from phoenix.api.health_checks import HealthChecks, Severity
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import Health
from phoenix.errors import FieldError, Unavailable

router = APIRouter(tags=["health"], route_class=StrictRoute)

RETRY_AFTER_S = 5

# Without Redis, jobs are still accepted and streams go on, only more slowly.
_OPTIONAL = frozenset({"redis"})


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def get_liveness() -> Health:
    """Check that the process responds.

    Ignores the services behind it, because a restart of this server would not repair them.
    """
    return Health(status="ok", version=__version__, checks={})


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def get_health(state: AppStateDep) -> Health:
    """Check everything behind this server.

    200 even if `degraded`, because work continues without Redis. 503 if the database or the store is away or full, with
    an error for each. Both are tested by a write.
    """
    return await _check_all(state.health_checks, worst=Severity.FINE)


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready")
async def get_readiness(state: AppStateDep) -> Health:
    """Check whether this server should get requests.

    The same checks as `/health`. But a full disk is `degraded`: this server still shows, cancels and deletes jobs.
    """
    return await _check_all(state.health_checks, worst=Severity.LIMITED)


async def _check_all(health_checks: HealthChecks, *, worst: Severity) -> Health:
    """The results, with 200. Raises `Unavailable` if the result of a needed service is worse than `worst`."""
    results = await health_checks.run()
    bad = [
        FieldError(f"/checks/{name}", result.status)
        for name, result in results.items()
        if result.severity > worst and name not in _OPTIONAL
    ]
    if bad:
        names = ", ".join(error.pointer.removeprefix("/checks/") for error in bad)
        raise Unavailable(f"Not working: {names}.", field_errors=bad, retry_after_s=RETRY_AFTER_S)
    is_healthy = all(result.is_fine for result in results.values())
    return Health(
        status="ok" if is_healthy else "degraded",
        version=__version__,
        checks={name: result.status for name, result in results.items()},
    )
