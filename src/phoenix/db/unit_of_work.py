"""The unit of work: the only code that commits. Side effects run after the commit."""

import asyncio
import sqlite3
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Executable, Row, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.util import greenlet_spawn

from phoenix.db.ballast import Ballast
from phoenix.db.columns import db_now
from phoenix.db.encryption import SecretCipher
from phoenix.db.engine import WRITES
from phoenix.db.errors import explain_database_error
from phoenix.errors import StorageFull
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

PostCommitHandler = Callable[[Sequence[object]], Awaitable[None]]
"""Delivers the post-commit events of a committed transaction. Must not raise."""

_ONE_SNAPSHOT = {"postgresql": {"isolation_level": "REPEATABLE READ"}}
"""Lets all statements of a read see one snapshot. Otherwise a read can find half of a job that is deleted meanwhile.

Transactions of SQLite see one snapshot anyway.
"""

_ONE_STATEMENT = {"postgresql": {"isolation_level": "AUTOCOMMIT"}}
"""A statement alone sees one snapshot, without the two round trips that begin and end a transaction."""

_FULL_FOR_S = 60.0
"""How long a full disk counts as full after the last failure. Small writes succeed in between: they fit into what the
database has allocated already.
"""

_NOW = select(db_now())


class PreCommitHook(Protocol):
    """The last thing that a transaction does before its commit."""

    async def run(self, uow: "UnitOfWork", /) -> None:
        """Writes, or raises to roll the transaction back."""
        ...


class UnitOfWork:
    """One transaction. Its post-commit events are delivered only if it commits."""

    def __init__(self, session: AsyncSession, cipher: SecretCipher) -> None:
        self.session = session
        self.cipher = cipher
        self.post_commit_events: list[object] = []
        self._pre_commit_hooks: list[PreCommitHook] = []
        self._now: datetime | None = None

    def publish_after_commit(self, *events: object) -> None:
        """Publishes events once the transaction is committed. For events and delivery see `jobs.post_commit`."""
        self.post_commit_events.extend(events)

    def before_commit(self, hook: PreCommitHook) -> None:
        """Runs `hook` just before the commit, so that a lock on a much wanted row is held only briefly."""
        self._pre_commit_hooks.append(hook)

    async def run_pre_commit_hooks(self) -> None:
        """Flushes all changes first, so that no hook holds its lock while the changes wait for other locks."""
        if self._pre_commit_hooks:
            await self.session.flush()
        for hook in self._pre_commit_hooks:
            await hook.run(self)

    def set_now(self, now: datetime) -> None:
        """Takes over the database's clock as another statement of this transaction has read it."""
        self._now = now

    async def now(self) -> datetime:
        """The database's clock, read once per transaction: the clocks of hosts may disagree by minutes."""
        if self._now is None:
            self._now = (await self.session.execute(_NOW)).scalar_one()
        return self._now


async def _discard_events(_events: Sequence[object]) -> None:
    return None


class Database:
    """Opens units of work. One per process and event loop; `close` ends its connections.

    `cipher` encrypts the few columns that hold secrets. `ballast` belongs to a SQLite file.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        post_commit_handler: PostCommitHandler = _discard_events,
        cipher: SecretCipher | None = None,
        ballast: Ballast | None = None,
    ) -> None:
        self.engine = engine
        self.ballast = ballast
        self.cipher = cipher or SecretCipher()
        self._post_commit_handler = post_commit_handler
        dialect = engine.dialect.name
        self._reader = engine.execution_options(**{WRITES: False}, **_ONE_SNAPSHOT.get(dialect, {}))
        self._single_reader = engine.execution_options(**{WRITES: False}, **_ONE_STATEMENT.get(dialect, {}))
        self._writer = engine.execution_options(**{WRITES: True})
        # Two, because a database on a full disk is still read.
        self._read_failures = FailureEpisode(_logger, "the database cannot be read", "the database is read again")
        self._write_failures = FailureEpisode(
            _logger, "the database cannot be written", "the database is written again"
        )

    @property
    def dialect(self) -> str:
        """The name of the database system, as SQLAlchemy writes it."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def write(self, *, frees_space: bool = False) -> AsyncGenerator[UnitOfWork]:
        """Commits at the end (rolls back on any exception), then delivers the post-commit events.

        `frees_space`: the transaction deletes, or prepares a deletion, so on a full disk the ballast makes room for it.
        Raises `StorageFull`, or `Unavailable` if the database is away.
        """
        if frees_space and self.ballast is not None:
            await asyncio.to_thread(self.ballast.give_up_if_needed)
        try:
            async with self._session(self._writer, self._write_failures) as session:
                uow = UnitOfWork(session, self.cipher)
                yield uow
                await uow.run_pre_commit_hooks()
                await session.commit()
        except StorageFull:
            # A disk quota is used up although the disk has space: the next try of the client succeeds.
            if frees_space and self.ballast is not None:
                await asyncio.to_thread(self.ballast.give_up)
            raise
        if uow.post_commit_events:
            await self._post_commit_handler(uow.post_commit_events)
        if frees_space and self.ballast is not None:
            # At once, before other processes take what was freed.
            await asyncio.to_thread(self.ballast.refill)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """A session on a consistent snapshot. Raises `Unavailable` if the database is away."""
        async with self._session(self._reader, self._read_failures) as session:
            yield session

    @asynccontextmanager
    async def read_once(self) -> AsyncGenerator[AsyncSession]:
        """A session for one statement, which is cheaper than `read`. Raises `Unavailable` if the database is away."""
        async with self._session(self._single_reader, self._read_failures) as session:
            yield session

    async def fetch(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """The rows of one statement that only reads. Raises `Unavailable` if the database is away.

        Costs a third of `read_once`: it has no session, and enters SQLAlchemy's greenlet once instead of five times.
        """
        engine = self._single_reader.sync_engine

        def run() -> Sequence[Row[Any]]:
            with engine.connect() as connection:
                return connection.execute(statement, parameters).all()

        with self._explaining(self._read_failures):
            return await greenlet_spawn(run)

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine, episode: FailureEpisode) -> AsyncGenerator[AsyncSession]:
        with self._explaining(episode):
            async with AsyncSession(engine, expire_on_commit=False) as session:
                yield session

    @contextmanager
    def _explaining(self, episode: FailureEpisode) -> Generator[None]:
        """Raises what the database's errors mean."""
        try:
            yield
        except (PoolTimeout, OSError, TimeoutError, DBAPIError) as error:
            explained = explain_database_error(error, has_space=self.ballast is None or self.ballast.has_space())
            if explained is None:
                raise
            lasts_s = _FULL_FOR_S if isinstance(explained, StorageFull) else 0.0
            episode.fail(error, lasts_s=lasts_s, meaning=explained.detail)
            raise explained from error
        episode.end()

    async def erase_deleted(self) -> None:
        """Removes what the write-ahead log of SQLite still has of rows that were deleted or encrypted.

        Waits for readers, for as long as a write waits for others, and then leaves it to later writes. On PostgreSQL
        this does nothing: VACUUM and the recycling of its log do so there.
        """
        if self.dialect != "sqlite":
            return
        async with self.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            # A full disk may not have the room.
            with suppress(sqlite3.Error):
                await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Closes all connections."""
        await self.engine.dispose()


async def acquire_lock(session: AsyncSession, name: str) -> None:
    """Waits until no other transaction holds the lock `name`, and holds it until the end of this one.

    On SQLite, writing transactions exclude each other anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))


_SORT_ON_DISK = "SELECT count(*) FROM (SELECT n FROM generate_series(1, 40000) AS n ORDER BY n DESC OFFSET 0) AS sorted"


async def write_temporary_file(session: AsyncSession) -> None:
    """Makes PostgreSQL write about 1 MB to its disk and free it again, in this transaction. Raises if the disk is full.

    A row of ours proves nothing there: it fits into a page that the table has already. On SQLite this does nothing.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SET LOCAL work_mem = '64kB'"))
        await session.execute(text(_SORT_ON_DISK))
