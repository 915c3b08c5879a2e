"""The tables of the statistics. They outlive the jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field, SQLModel

from phoenix.db import UtcDateTime

Document = dict[str, Any]


class MeasurementRow(SQLModel, table=True):
    """An attempt or a job that has ended, and that the statistics have not counted yet."""

    __tablename__ = "measurements"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    owner_id: str
    at: datetime = Field(sa_type=UtcDateTime)
    data: Document = Field(sa_type=JSON)
    """A `Measurement`."""


class StatsRow(SQLModel, table=True):
    """What happened in one period. A period of 0 seconds is all time."""

    __tablename__ = "stats"  # pyright: ignore[reportAssignmentType]

    resolution_s: int = Field(primary_key=True)
    starts_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    subject: str = Field(primary_key=True)
    """`task`, `job` or `queue`; `everything` for their sum, which most charts read."""
    name: str = Field(primary_key=True)
    """The queue, or the kind of the job; `none` for everything."""
    model: str = Field(primary_key=True)
    """`none` for work without a model."""
    shape: str = Field(primary_key=True)
    """The class of a clip's size and length; empty where clips of all shapes are counted together."""
    data: Document = Field(sa_type=JSON)
    """`Figures` as JSON."""


class UsageDayRow(SQLModel, table=True):
    """What the jobs of an owner have used on one day in UTC."""

    __tablename__ = "usage_days"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "starts_at"),)

    owner_id: str = Field(primary_key=True)
    starts_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    jobs: int
    """Jobs that ended."""
    clips: int
    """Clips that were rendered. Reused clips do not count."""
    attempts: int
    device_s: float
    """Seconds in which its clips had a slot on a device."""
    worker_s: float
    """Seconds of all attempts."""
    output_bytes: int = Field(sa_type=BigInteger)
    """Bytes of the files that its attempts have stored, with their thumbnails."""
    video_s: float
    """Seconds of video in the results of its jobs."""
