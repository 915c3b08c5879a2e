"""The table of storyboards."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from phoenix.contract import StoryboardState
from phoenix.db import EnumText, UtcDateTime


class StoryboardRow(SQLModel, table=True):
    """A storyboard. `revision` is the fencing token of its writing: an answer of an earlier revision is void."""

    __tablename__ = "storyboards"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "owner_id", "id"),)

    id: str = Field(primary_key=True)
    owner_id: str
    state: StoryboardState = Field(sa_type=EnumText(StoryboardState))  # pyright: ignore[reportArgumentType]
    planner: str
    revision: int = 1
    request: dict[str, Any] = Field(sa_type=JSON)
    """The `StoryboardRequest`, as sent."""
    reel: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    script: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """The last answer of the language model, from which the next message continues."""
    messages: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    """Each a `StoryboardMessage`. The first is the idea."""
    adjustments: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    error: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    writing_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The end of the time limit of the writing. Later, its process was lost."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime, index=True)
