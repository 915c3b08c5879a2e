"""The tables of webhooks: deliveries, signing secrets, and URLs that refused."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, ForeignKey, Index
from sqlmodel import Field, SQLModel

from phoenix.db import EnumText, UtcDateTime
from phoenix.jobs.tables import Document


class DeliveryState(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Given up: after the last try, or because the target wants no more."""


class WebhookDeliveryRow(SQLModel, table=True):
    """One event for one URL. Written with the event; its id is the `webhook-id` of every try."""

    __tablename__ = "webhook_deliveries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index(None, "job_id", "seq", unique=True),
        Index(None, "state", "next_at"),
        Index(None, "owner_id", "id"),
    )

    id: str = Field(primary_key=True)
    job_id: str = Field(sa_column_args=(ForeignKey("jobs.id", ondelete="CASCADE"),))
    seq: int
    owner_id: str
    url: str
    target: str
    """The URL's scheme, host and port: a slow target must not hold up the others."""
    type: str
    payload: Document = Field(sa_type=JSON)
    """The body: the same at every try."""
    state: DeliveryState = Field(sa_type=EnumText(DeliveryState))  # pyright: ignore[reportArgumentType]
    attempts: int = 0
    next_at: datetime = Field(sa_type=UtcDateTime)
    """Not to be sent before this: the time of the next try, or the end of the lease of the current sender."""
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WebhookSecretRow(SQLModel, table=True):
    """The secret of an owner's webhooks. The previous one stays valid for a while, so that no receiver refuses any."""

    __tablename__ = "webhook_secrets"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    secret: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    previous_secret: str | None = None
    previous_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WebhookRefusalRow(SQLModel, table=True):
    """A URL that answered 410: nothing more is sent there for this owner, until it asks for a delivery again."""

    __tablename__ = "webhook_refusals"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    url: str = Field(primary_key=True)
    refused_at: datetime = Field(sa_type=UtcDateTime)
