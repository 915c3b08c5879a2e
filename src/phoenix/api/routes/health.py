"""Liveness of this server, and the state of the services behind it, for load balancers and people."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter
from redis.exceptions import RedisError
from sqlalchemy import text

from phoenix import __version__, assembly
from phoenix.api.dependencies import Services
from phoenix.contract.fleet import Health
from phoenix.errors import Fault, PhoenixError, SchemaOutdated, Unavailable
from phoenix.events.pubsub.redis_client import send
from phoenix.ids import ArtifactId
from phoenix.storage.faults import ObjectMissing
from phoenix.storage.keys import upload_key

router = APIRouter(tags=["health"])

CHECK_TIME_LIMIT_S = 2.0
RETRY_AFTER_S = 5
OK = "ok"

# Without Redis, jobs are still accepted and streams go on, only more slowly.
_DISPENSABLE = frozenset({"redis"})
_ABSENT_KEY = upload_key(ArtifactId("art_" + "0" * 26))


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def get_liveness() -> Health:
    """Check that the process responds.

    Ignores the services behind it: restarting this server would not mend those.
    """
    return Health(status="ok", version=__version__, checks={})


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def get_health(services: Services) -> Health:
    """Check everything behind this server.

    200 even if `degraded`: work goes on without Redis. 503, with each fault, if the database or the store is away.
    """
    return await _check_all(services)


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready")
async def get_readiness(services: Services) -> Health:
    """Check whether this server should get requests.

    The same checks as `/health`.
    """
    return await _check_all(services)


async def _check_all(services: assembly.Services) -> Health:
    pending = {
        "database": _ask_database(services),
        "redis": _ask_redis(services),
        "storage": _ask_store(services),
    }
    checks = dict(zip(pending, await asyncio.gather(*(map(_outcome, pending.values()))), strict=True))
    down = [Fault(f"/checks/{name}", said) for name, said in checks.items() if said != OK and name not in _DISPENSABLE]
    if down:
        names = ", ".join(fault.pointer.removeprefix("/checks/") for fault in down)
        raise Unavailable(f"Away: {names}.", faults=down, retry_after_s=RETRY_AFTER_S)
    is_whole = all(said == OK for said in checks.values())
    return Health(status="ok" if is_whole else "degraded", version=__version__, checks=checks)


async def _outcome(check: Awaitable[None]) -> str:
    """`ok`, or briefly what is wrong; the whole error could reveal addresses and folders to strangers."""
    try:
        async with asyncio.timeout(CHECK_TIME_LIMIT_S):
            await check
    except TimeoutError:
        return f"no answer within {CHECK_TIME_LIMIT_S:g} s"
    except SchemaOutdated:
        return "not migrated"
    except (PhoenixError, RedisError, OSError):
        return "away"
    return OK


async def _ask_database(services: assembly.Services) -> None:
    async with services.database.read() as session:
        # Of one of our tables: a database that was never migrated answers too.
        await session.execute(text("SELECT 1 FROM duties"))


async def _ask_redis(services: assembly.Services) -> None:
    await send(services.redis, ("PING",))


async def _ask_store(services: assembly.Services) -> None:
    try:
        await services.store.size(_ABSENT_KEY)
    except ObjectMissing:
        return
