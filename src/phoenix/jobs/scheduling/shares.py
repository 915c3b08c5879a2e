"""How much of the fleet each key gets: its weight in the fair queue, and its limits. Set by administrators."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract.steering import KeyShare, KeyShareRequest
from phoenix.db import UnitOfWork, detached, table_of
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.scheduling.fair_queue import ReadyTask
from phoenix.jobs.tables import KeyShareRow


@dataclass(frozen=True)
class Shares:
    """The keys that have a share of their own, by id."""

    rows: Mapping[str, KeyShareRow] = field(default_factory=dict[str, KeyShareRow])

    @property
    def limits(self) -> Mapping[str, int]:
        """The most clips at a time of the keys that have such a limit of their own; 0 means none."""
        limits = {owner_id: row.max_running_clips for owner_id, row in self.rows.items()}
        return {owner_id: most for owner_id, most in limits.items() if most is not None}

    @property
    def model_limits(self) -> Mapping[str, int]:
        """The most clips of one model at a time, of the keys that have such a limit."""
        limits = {owner_id: row.max_running_clips_per_model for owner_id, row in self.rows.items()}
        return {owner_id: most for owner_id, most in limits.items() if most is not None}

    def weigh_usage(self, usage_s: Mapping[str, float]) -> Mapping[str, float]:
        """The usage by owner, in seconds of an owner of weight 1."""
        return {owner_id: used_s / self._weight(owner_id) for owner_id, used_s in usage_s.items()}

    def weigh(self, tasks: Iterable[ReadyTask]) -> list[ReadyTask]:
        """The tasks with the weights of their owners."""
        if not self.rows:
            return list(tasks)
        return [replace(task, weight=self._weight(task.owner_id)) for task in tasks]

    def _weight(self, owner_id: str) -> float:
        return self.rows[owner_id].weight if owner_id in self.rows else 1.0


NO_SHARES = Shares()

_SELECT = select(*table_of(KeyShareRow).columns).order_by(col(KeyShareRow.owner_id))


async def read_shares(session: AsyncSession) -> Shares:
    """The shares of all keys that have one. Read only."""
    rows = [detached(KeyShareRow, values) for values in await session.execute(_SELECT)]
    return Shares({row.owner_id: row for row in rows})


async def set_share(uow: UnitOfWork, key_id: str, share: KeyShareRequest) -> KeyShare:
    """Gives the key this share in place of the one it has."""
    row = await uow.session.get(KeyShareRow, key_id) or KeyShareRow(owner_id=key_id, weight=1.0)
    row.weight = share.weight
    row.max_running_clips = share.max_running_clips
    row.max_running_clips_per_model = share.max_running_clips_per_model
    uow.session.add(row)
    uow.publish_after_commit(TasksReady())
    return view_share(row)


async def remove_share(uow: UnitOfWork, key_id: str) -> None:
    """Lets the key have what every key has. Harmless if it does."""
    await uow.session.execute(delete(KeyShareRow).where(col(KeyShareRow.owner_id) == key_id))
    uow.publish_after_commit(TasksReady())


def view_share(row: KeyShareRow) -> KeyShare:
    return KeyShare(
        key_id=row.owner_id,
        weight=row.weight,
        max_running_clips=row.max_running_clips,
        max_running_clips_per_model=row.max_running_clips_per_model,
    )
