"""Storyboards in the database: made, found, written, deleted. Every change of a storyboard locks its row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.contract import (
    PlannerName,
    ReelRequest,
    Storyboard,
    StoryboardError,
    StoryboardErrorCode,
    StoryboardRequest,
    StoryboardState,
)
from phoenix.db import NEWER_VERSION_RETRY_AFTER_S, UnitOfWork, db_now
from phoenix.errors import Conflict, NewerVersionError, NotFound
from phoenix.ids import new_storyboard_id
from phoenix.jobs.repository import decode_cursor, encode_cursor
from phoenix.storyboards.limits import PlanLimits
from phoenix.storyboards.llm_planner import Talk, WrittenReel
from phoenix.storyboards.script import script_of
from phoenix.storyboards.tables import StoryboardRow

MAX_MESSAGES = 200
"""Messages of one storyboard, answers included."""
BATCH = 500
_LOST = StoryboardError(
    code=StoryboardErrorCode.UNAVAILABLE, message="The server that wrote it was lost. Try again.", retriable=True
)


@dataclass(frozen=True)
class Ticket:
    """The right to write a storyboard: its id, its owner, and the revision for which an answer counts."""

    storyboard_id: str
    owner_id: str
    revision: int


async def create_storyboard(
    uow: UnitOfWork,
    request: StoryboardRequest,
    *,
    owner_id: str,
    planner: PlannerName,
    limits: PlanLimits,
) -> StoryboardRow:
    """Adds a storyboard without a reel; `finish_writing` or `begin_writing` must follow in the transaction."""
    now = await uow.now()
    row = StoryboardRow(
        id=new_storyboard_id(),
        owner_id=owner_id,
        state=StoryboardState.WRITING,
        planner=planner,
        request=request.model_dump(mode="json", exclude_unset=True),
        messages=[_message("user", request.idea, now)],
        adjustments=[each.model_dump(mode="json") for each in limits.adjustments],
        created_at=now,
        updated_at=now,
    )
    uow.session.add(row)
    return row


async def get_storyboard(session: AsyncSession, storyboard_id: str, *, owner_id: str) -> Storyboard:
    """The storyboard as it is now. Raises `NotFound`, also for the storyboard of another owner."""
    statement = select(StoryboardRow, db_now()).where(
        col(StoryboardRow.id) == storyboard_id, col(StoryboardRow.owner_id) == owner_id
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise NotFound(f"There is no storyboard {storyboard_id}.")
    return view_storyboard(*found)


async def get_locked(uow: UnitOfWork, storyboard_id: str, *, owner_id: str) -> StoryboardRow:
    """The row, locked until the end of the transaction. Raises `NotFound`."""
    statement = select(StoryboardRow).where(
        col(StoryboardRow.id) == storyboard_id, col(StoryboardRow.owner_id) == owner_id
    )
    row = (await uow.session.scalars(statement.with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no storyboard {storyboard_id}.")
    return row


async def list_storyboards(
    session: AsyncSession, *, owner_id: str, limit: int, cursor: str | None
) -> tuple[Sequence[Storyboard], str | None]:
    """One page of the owner's storyboards, newest first, and the cursor of the next page; None on the last page."""
    # A row of a state that only a newer version knows would make all rows unreadable.
    statement = select(StoryboardRow, db_now()).where(
        col(StoryboardRow.owner_id) == owner_id, col(StoryboardRow.state).in_(list(StoryboardState))
    )
    if cursor is not None:
        statement = statement.where(col(StoryboardRow.id) < decode_cursor(cursor, prefix="stb_"))
    rows = (await session.execute(statement.order_by(col(StoryboardRow.id).desc()).limit(limit + 1))).all()
    page = [view_storyboard(*found) for found in rows[:limit]]
    return page, encode_cursor(page[-1].id) if len(rows) > limit else None


def view_storyboard(row: StoryboardRow, now: datetime) -> Storyboard:
    """The storyboard as its owner sees it. Raises `NewerVersionError` if only a newer version can read it."""
    is_lost = is_abandoned(row, now)
    try:
        return Storyboard.model_validate(
            {
                **{name: getattr(row, name) for name in Storyboard.model_fields},
                "state": StoryboardState.FAILED if is_lost else row.state,
                "error": _LOST if is_lost else row.error,
            }
        )
    except ValidationError:
        raise NewerVersionError(retry_after_s=NEWER_VERSION_RETRY_AFTER_S) from None


def is_abandoned(row: StoryboardRow, now: datetime) -> bool:
    """Whether the process that wrote it has ended without a word."""
    return row.state is StoryboardState.WRITING and row.writing_until is not None and row.writing_until <= now


async def add_message(uow: UnitOfWork, row: StoryboardRow, text: str, reel: ReelRequest | None = None) -> None:
    """Adds a message of the user, with the reel as the user has changed it.

    Raises `Conflict` while the storyboard is written, and if it has too many messages.
    """
    await _check_idle(uow, row)
    if reel is not None:
        row.reel = reel.model_dump(mode="json", exclude_unset=True)
        row.script = script_of(reel, message="The user has changed this.")
    if len(row.messages) + 2 > MAX_MESSAGES:
        raise Conflict(f"A storyboard has at most {MAX_MESSAGES} messages; make a new one.")
    row.messages = [*row.messages, _message("user", text, await uow.now())]
    row.revision += 1


async def begin_retry(uow: UnitOfWork, row: StoryboardRow) -> None:
    """Begins another try. Raises `Conflict` unless the storyboard has failed and another try can succeed."""
    await _check_idle(uow, row)
    if row.state is StoryboardState.DRAFT:
        raise Conflict("The storyboard has not failed; send a message to change it.")
    if row.error is not None and not row.error["retriable"]:
        raise Conflict("Another try would fail too; send a message with other words.")
    row.revision += 1


async def _check_idle(uow: UnitOfWork, row: StoryboardRow) -> None:
    if row.state is StoryboardState.WRITING and not is_abandoned(row, await uow.now()):
        raise Conflict("The storyboard is being written; wait until that has ended.")


async def begin_writing(uow: UnitOfWork, row: StoryboardRow, *, lease_s: float) -> Ticket:
    """Marks the storyboard as being written, for `lease_s` seconds at most."""
    now = await uow.now()
    row.state, row.error = StoryboardState.WRITING, None
    row.writing_until, row.updated_at = now + timedelta(seconds=lease_s), now
    return Ticket(row.id, row.owner_id, row.revision)


async def find_written(uow: UnitOfWork, ticket: Ticket) -> StoryboardRow | None:
    """The row that the ticket is for, locked. None if it was deleted, or is written by somebody else by now."""
    statement = select(StoryboardRow).where(
        col(StoryboardRow.id) == ticket.storyboard_id,
        col(StoryboardRow.revision) == ticket.revision,
        col(StoryboardRow.state) == StoryboardState.WRITING,
    )
    return (await uow.session.scalars(statement.with_for_update())).one_or_none()


async def finish_writing(uow: UnitOfWork, row: StoryboardRow, draft: WrittenReel) -> None:
    """Stores what was written."""
    row.state, row.reel, row.script = StoryboardState.DRAFT, draft.reel, draft.script
    row.error, row.updated_at = None, await uow.now()
    row.messages = [*row.messages, _message("assistant", draft.message, row.updated_at)]


async def fail_writing(uow: UnitOfWork, row: StoryboardRow, error: StoryboardError) -> None:
    """Stores why nothing was written. The reel stays as it was."""
    row.state, row.error = StoryboardState.FAILED, error.model_dump(mode="json")
    row.updated_at = await uow.now()
    if error.code is StoryboardErrorCode.MODERATED:
        answered = _count_answered(row.messages)
        pending = [{**each, "refused": True} for each in row.messages[max(answered, 1) :]]
        row.messages = [*row.messages[: max(answered, 1)], *pending]


def talk_of(row: StoryboardRow, limits: PlanLimits) -> Talk:
    """What the storyboard is written from, next."""
    answered = _count_answered(row.messages)
    wishes = [
        (index < answered, each["text"])
        for index, each in enumerate(row.messages)
        if index > 0 and each["role"] == "user" and not each.get("refused")
    ]
    if wishes and row.planner == "llm":
        # A wish may change the number of clips that was asked for at first.
        limits = replace(limits, num_clips=None)
    return Talk(
        request=StoryboardRequest.model_validate(row.request),
        limits=limits,
        wishes=tuple(text for _, text in wishes),
        answered=sum(is_answered for is_answered, _ in wishes),
        script=row.script,
        reel=None if row.reel is None else ReelRequest.model_validate(row.reel),
    )


async def delete_storyboard(uow: UnitOfWork, storyboard_id: str, *, owner_id: str) -> None:
    """Deletes the storyboard. Raises `NotFound`."""
    await uow.session.delete(await get_locked(uow, storyboard_id, owner_id=owner_id))


async def delete_old_storyboards(uow: UnitOfWork, *, older_than_s: float) -> int:
    """Deletes a batch of those that nobody has changed for so long. Returns how many."""
    old = select(col(StoryboardRow.id)).where(col(StoryboardRow.updated_at) < db_now(-older_than_s))
    return await _delete(uow, (await uow.session.scalars(old.limit(BATCH))).all())


async def delete_surplus_storyboards(uow: UnitOfWork, *, max_per_owner: int) -> int:
    """Deletes a batch of those beyond the newest `max_per_owner` of each owner. Returns how many."""
    newest_first = func.row_number().over(
        partition_by=col(StoryboardRow.owner_id), order_by=col(StoryboardRow.updated_at).desc()
    )
    ranked = select(col(StoryboardRow.id), newest_first.label("ordinal")).subquery()
    surplus = select(ranked.c.id).where(ranked.c.ordinal > max_per_owner)
    return await _delete(uow, (await uow.session.scalars(surplus.limit(BATCH))).all())


async def _delete(uow: UnitOfWork, ids: Sequence[str]) -> int:
    await uow.session.execute(delete(StoryboardRow).where(col(StoryboardRow.id).in_(ids)))
    return len(ids)


def _message(role: str, text: str, at: datetime) -> dict[str, Any]:
    return {"role": role, "text": text, "at": at.isoformat(), "refused": False}


def _count_answered(messages: Sequence[dict[str, Any]]) -> int:
    """How many messages there are up to the last answer."""
    return max((index + 1 for index, each in enumerate(messages) if each["role"] == "assistant"), default=0)
