"""Leader election by a row per chore: whoever holds the row does the chore, until it stops renewing."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.tables import DutyRow


async def take_duty(uow: UnitOfWork, name: str, *, holder: str, hold_s: float) -> bool:
    """Takes or renews a duty for `hold_s`. False while another process holds it."""
    now = await uow.now()
    statement = select(DutyRow).where(col(DutyRow.name) == name).with_for_update()
    duty = (await uow.session.scalars(statement)).one_or_none()
    until = now + timedelta(seconds=hold_s)
    if duty is None:
        return await _create_duty(uow, DutyRow(name=name, holder=holder, held_until=until))
    if duty.holder != holder and duty.held_until > now:
        return False
    duty.holder, duty.held_until = holder, until
    return True


async def _create_duty(uow: UnitOfWork, duty: DutyRow) -> bool:
    try:
        async with uow.session.begin_nested():
            uow.session.add(duty)
    except IntegrityError:
        return False  # another replica was first
    return True


async def drop_duty(uow: UnitOfWork, name: str, *, holder: str) -> None:
    """Gives a duty back, so that another replica need not wait for it to lapse. Harmless if another holds it."""
    duty = await uow.session.get(DutyRow, name)
    if duty is not None and duty.holder == holder:
        duty.held_until = await uow.now()
