"""Leader election: one row per background service. The leader runs the service until it stops renewing the row."""

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.db import UnitOfWork, db_now
from phoenix.jobs.tables import LeaderLeaseRow


async def acquire_leader_lease(uow: UnitOfWork, name: str, *, leader_id: str, lease_s: float) -> bool:
    """Acquires or renews a leader lease for `lease_s`. False while another process holds it."""
    now = await uow.now()
    statement = select(LeaderLeaseRow).where(col(LeaderLeaseRow.name) == name).with_for_update()
    lease = (await uow.session.scalars(statement)).one_or_none()
    until = now + timedelta(seconds=lease_s)
    if lease is None:
        return await _insert_leader_lease(uow, LeaderLeaseRow(name=name, leader_id=leader_id, expires_at=until))
    if lease.leader_id != leader_id and lease.expires_at > now:
        return False
    lease.leader_id, lease.expires_at = leader_id, until
    return True


async def has_leader(session: AsyncSession, name: str) -> bool:
    """Whether a process runs this background service now."""
    statement = select(col(LeaderLeaseRow.name)).where(
        col(LeaderLeaseRow.name) == name, col(LeaderLeaseRow.expires_at) > db_now()
    )
    return (await session.scalars(statement)).first() is not None


async def _insert_leader_lease(uow: UnitOfWork, lease: LeaderLeaseRow) -> bool:
    try:
        async with uow.session.begin_nested():
            uow.session.add(lease)
    except IntegrityError:
        # Another replica was first.
        return False
    return True


async def write_and_erase(uow: UnitOfWork, name: str) -> None:
    """Tests whether the database takes writes: a row that no other process sees costs the commit a write."""
    uow.session.add(LeaderLeaseRow(name=name, leader_id=name, expires_at=await uow.now()))
    await uow.session.flush()
    await uow.session.execute(delete(LeaderLeaseRow).where(col(LeaderLeaseRow.name) == name))


async def release_leader_lease(uow: UnitOfWork, name: str, *, leader_id: str) -> None:
    """Releases a leader lease, so that no replica waits until it expires. Does nothing if another replica holds it."""
    lease = await uow.session.get(LeaderLeaseRow, name)
    if lease is not None and lease.leader_id == leader_id:
        lease.expires_at = await uow.now()
