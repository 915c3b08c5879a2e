"""What works behind this server: database, Redis and store. Each check has a time limit, and leaves nothing behind."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from phoenix.clock import in_seconds
from phoenix.db import Database, write_temporary_file
from phoenix.errors import PhoenixError, SchemaOutdated, StorageFull
from phoenix.events.pubsub.redis_client import send
from phoenix.ids import ArtifactId, new_artifact_id
from phoenix.jobs.scheduling.leader_lease import write_and_erase
from phoenix.storage.errors import ObjectMissing, StoreFull
from phoenix.storage.keys import upload_key
from phoenix.storage.reserve import StorageReserve
from phoenix.storage.store import ArtifactStore

CHECK_TIMEOUT_S = 2.0
WRITE_CHECK_AGE_S = 5.0
"""How long the result of a test write counts. Load balancers ask several times a second, and a write costs a flush."""

_ABSENT_KEY = upload_key(ArtifactId("art_" + "0" * 26))


class Severity(IntEnum):
    """What a result means for requests."""

    FINE = 0
    LIMITED = 1
    """It is read and files are deleted, but it takes nothing new."""
    DOWN = 2


@dataclass(frozen=True)
class CheckResult:
    """What one check found: `ok`, or briefly what is wrong. Longer texts could reveal addresses and folders."""

    status: str = "ok"
    severity: Severity = Severity.FINE

    @property
    def is_fine(self) -> bool:
        return self.severity is Severity.FINE


class HealthChecks:
    """The checks of one API process. Requests at the same time share one test write."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        store: ArtifactStore,
        reserve: StorageReserve,
        *,
        timeout_s: float = CHECK_TIMEOUT_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._database = database
        self._redis = redis
        self._store = store
        self._reserve = reserve
        self._clock_s = clock_s
        self._write_lock = asyncio.Lock()
        self._written_at_s = float("-inf")
        self._written: Mapping[str, CheckResult] = {}

    async def run(self) -> Mapping[str, CheckResult]:
        """The results for `database`, `redis` and `storage`."""
        calls = {
            "database": self._read_database(),
            "redis": send(self._redis, ("PING",)),
            "storage": self._read_store(),
        }
        reads = asyncio.gather(*(_run_check(call, self._timeout_s) for call in calls.values()))
        read, written = await asyncio.gather(reads, self._find_written())
        found = dict(zip(calls, read, strict=True))
        # What cannot be read cannot be written either, and the reason of the read says more.
        return {name: written.get(name, result) if result.is_fine else result for name, result in found.items()}

    async def _find_written(self) -> Mapping[str, CheckResult]:
        """The results of the test writes, or of the reserve where a write succeeded."""
        async with self._write_lock:
            if self._clock_s() - self._written_at_s >= WRITE_CHECK_AGE_S:
                writes = {"database": self._write_database(), "storage": self._write_store()}
                checks = [_run_check(write, self._timeout_s, is_write=True) for write in writes.values()]
                results = await asyncio.gather(*checks)
                self._written = dict(zip(writes, results, strict=True))
                self._written_at_s = self._clock_s()
        short = {
            shortage.part: CheckResult(shortage.explain(), Severity.LIMITED)
            for shortage in self._reserve.list_shortages()
        }
        return {name: short.get(name, result) if result.is_fine else result for name, result in self._written.items()}

    async def _read_database(self) -> None:
        async with self._database.read() as session:
            # One of our tables, because a database without them also answers `SELECT 1`.
            await session.execute(text("SELECT 1 FROM leader_leases"))

    async def _write_database(self) -> None:
        async with self._database.write() as uow:
            await write_and_erase(uow, f"health-{secrets.token_hex(8)}")
            await write_temporary_file(uow.session)

    async def _read_store(self) -> None:
        try:
            await self._store.size(_ABSENT_KEY)
        except ObjectMissing:
            return

    async def _write_store(self) -> None:
        if self._store.local_root is None:
            # A bucket with versions would keep each test for ever.
            return
        key = upload_key(new_artifact_id())
        await self._store.put_stream(key, _one_chunk(), max_bytes=None)
        await self._store.delete(key)


async def _one_chunk() -> AsyncIterator[bytes]:
    # A file of one byte may fit into the metadata of a full disk.
    yield bytes(4096)


async def _run_check(check: Awaitable[object], timeout_s: float, *, is_write: bool = False) -> CheckResult:
    try:
        async with asyncio.timeout(timeout_s):
            await check
    except TimeoutError:
        # A write also waits for the writes of others.
        severity = Severity.LIMITED if is_write else Severity.DOWN
        return CheckResult(f"no answer within {in_seconds(timeout_s)}", severity)
    except SchemaOutdated:
        return CheckResult("not migrated", Severity.DOWN)
    except (StorageFull, StoreFull):
        return CheckResult("full: it takes no writes", Severity.LIMITED)
    except (PhoenixError, SQLAlchemyError, RedisError, OSError):
        return CheckResult("cannot be written" if is_write else "away", Severity.DOWN)
    return CheckResult()
