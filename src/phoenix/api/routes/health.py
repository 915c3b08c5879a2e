"""Liveness of this server, and the state of the services behind it."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from phoenix import __version__
from phoenix.api.dependencies import ServicesDep
from phoenix.clock import in_seconds
from phoenix.contract import Health
from phoenix.db import Database
from phoenix.errors import FieldError, PhoenixError, SchemaOutdated, Unavailable
from phoenix.events.pubsub.redis_client import send
from phoenix.ids import ArtifactId
from phoenix.services import Services
from phoenix.storage.errors import ObjectMissing
from phoenix.storage.keys import upload_key
from phoenix.storage.store import ArtifactStore

router = APIRouter(tags=["health"])

CHECK_TIMEOUT_S = 2.0
RETRY_AFTER_S = 5
OK = "ok"

# Without Redis, jobs are still accepted and streams go on, only more slowly.
_OPTIONAL = frozenset({"redis"})
_ABSENT_KEY = upload_key(ArtifactId("art_" + "0" * 26))


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def get_liveness() -> Health:
    """Check that the process responds.

    Ignores the services behind it, because a restart of this server would not repair them.
    """
    return Health(status="ok", version=__version__, checks={})


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def get_health(services: ServicesDep) -> Health:
    """Check everything behind this server.

    200 even if `degraded`, because work continues without Redis. 503 if the database or the store is away, with an
    error for each.
    """
    return await _check_all(services)


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready")
async def get_readiness(services: ServicesDep) -> Health:
    """Check whether this server should get requests.

    The same checks as `/health`.
    """
    return await _check_all(services)


async def _check_all(services: Services) -> Health:
    pending = {
        "database": _check_database(services.database),
        "redis": _check_redis(services.redis),
        "storage": _check_store(services.store),
    }
    checks = dict(zip(pending, await asyncio.gather(*(map(_run_check, pending.values()))), strict=True))
    down = [
        FieldError(f"/checks/{name}", status)
        for name, status in checks.items()
        if status != OK and name not in _OPTIONAL
    ]
    if down:
        names = ", ".join(error.pointer.removeprefix("/checks/") for error in down)
        raise Unavailable(f"Away: {names}.", field_errors=down, retry_after_s=RETRY_AFTER_S)
    is_healthy = all(status == OK for status in checks.values())
    return Health(status="ok" if is_healthy else "degraded", version=__version__, checks=checks)


async def _run_check(check: Awaitable[None]) -> str:
    """`ok`, or briefly what is wrong; the whole error could reveal addresses and folders to strangers."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except TimeoutError:
        return f"no answer within {in_seconds(CHECK_TIMEOUT_S)}"
    except SchemaOutdated:
        return "not migrated"
    except (PhoenixError, RedisError, OSError):
        return "away"
    return OK


async def _check_database(database: Database) -> None:
    async with database.read() as session:
        # One of our tables, because a database without them also answers `SELECT 1`.
        await session.execute(text("SELECT 1 FROM leader_leases"))


async def _check_redis(redis: Redis) -> None:
    await send(redis, ("PING",))


async def _check_store(store: ArtifactStore) -> None:
    try:
        await store.size(_ABSENT_KEY)
    except ObjectMissing:
        return
