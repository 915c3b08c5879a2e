"""The unit of work: the only code that commits. Side effects run after the commit."""

import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from phoenix.db.columns import db_now
from phoenix.db.encryption import SecretCipher
from phoenix.db.engine import WRITES
from phoenix.errors import SchemaOutdated, Unavailable

PostCommitHandler = Callable[[Sequence[object]], Awaitable[None]]
"""Delivers the post-commit events of a committed transaction. Must not raise."""

TRANSIENT_STATES = ("08", "25P03", "40", "53", "55P03", "57")
"""SQLSTATEs, or their classes, of PostgreSQL: cut off, timed out, deadlocked, out of resources, waiting for a lock.

asyncpg reports them as plain errors. All of these conditions end by themselves.
"""

UNDEFINED_STATES = ("42P01", "42703")
"""SQLSTATEs of a missing table and a missing column. SQLite reports them only in words."""

_NO_COLUMN = " has no column named "
"""What SQLite says of an INSERT."""

_ONE_SNAPSHOT = {"postgresql": {"isolation_level": "REPEATABLE READ"}}
"""Lets all statements of a read see one snapshot. Otherwise a read can find half of a job that is deleted meanwhile.

Transactions of SQLite see one snapshot anyway.
"""

PreCommitHook = Callable[[], Awaitable[None]]

RETRY_AFTER_S = 2


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
            await hook()

    async def now(self) -> datetime:
        """The database's clock, read once per transaction: the clocks of hosts may disagree by minutes."""
        if self._now is None:
            self._now = (await self.session.execute(select(db_now()))).scalar_one()
        return self._now


async def _discard_events(_events: Sequence[object]) -> None:
    return None


class Database:
    """Opens units of work. One per process and event loop; `close` ends its connections.

    `cipher` encrypts the few columns that hold secrets.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        post_commit_handler: PostCommitHandler = _discard_events,
        cipher: SecretCipher | None = None,
    ) -> None:
        self.engine = engine
        self.cipher = cipher or SecretCipher()
        self._post_commit_handler = post_commit_handler
        self._reader = engine.execution_options(**{WRITES: False}, **_ONE_SNAPSHOT.get(engine.dialect.name, {}))
        self._writer = engine.execution_options(**{WRITES: True})

    @property
    def dialect(self) -> str:
        """The name of the database system, as SQLAlchemy writes it."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[UnitOfWork]:
        """Commits at the end (rolls back on any exception), then delivers the post-commit events.

        Raises `Unavailable` if the database is away.
        """
        async with self._session(self._writer) as session:
            uow = UnitOfWork(session, self.cipher)
            yield uow
            await uow.run_pre_commit_hooks()
            await session.commit()
        if uow.post_commit_events:
            await self._post_commit_handler(uow.post_commit_events)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """A session on a consistent snapshot. Raises `Unavailable` if the database is away."""
        async with self._session(self._reader) as session:
            yield session

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine) -> AsyncGenerator[AsyncSession]:
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                yield session
        except (PoolTimeout, OSError, TimeoutError) as error:
            raise Unavailable("The database is away.", retry_after_s=RETRY_AFTER_S) from error
        except DBAPIError as error:
            if _lacks_tables(error):
                raise SchemaOutdated(retry_after_s=RETRY_AFTER_S) from error
            if _is_transient(error):
                raise Unavailable("The database is away.", retry_after_s=RETRY_AFTER_S) from error
            raise

    async def close(self) -> None:
        """Closes all connections."""
        await self.engine.dispose()


def _lacks_tables(error: DBAPIError) -> bool:
    """Whether a table or column is missing. Our own statements are right, so a migration is missing."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    text = str(error.orig)
    return state in UNDEFINED_STATES or text.startswith(("no such table", "no such column")) or _NO_COLUMN in text


def _is_transient(error: DBAPIError) -> bool:
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return True
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state is not None and state.startswith(TRANSIENT_STATES)


async def acquire_lock(session: AsyncSession, name: str) -> None:
    """Waits until no other transaction holds the lock `name`, and holds it until the end of this one.

    On SQLite, writing transactions exclude each other anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))
