"""The tables of webhooks: deliveries, signing secrets, and URLs that refused."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, ForeignKey, Index
from sqlmodel import Field, SQLModel

from phoenix.db import EnumText, UtcDateTime
from phoenix.jobs.tables import Document


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """After the last attempt, or because the URL refused."""


class WebhookDeliveryRow(SQLModel, table=True):
    """One event for one URL. Written with the event; its id is the `webhook-id` of every attempt."""

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
    """The body, which is the same at every attempt."""
    state: DeliveryState = Field(sa_type=EnumText(DeliveryState))  # pyright: ignore[reportArgumentType]
    attempts: int = 0
    next_at: datetime = Field(sa_type=UtcDateTime)
    """The delivery is not sent earlier. The time of the next attempt, or the end of the current sender's lease."""
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WebhookSecretRow(SQLModel, table=True):
    """The secret of an owner's webhooks. The previous secret stays valid for a while, so receivers can switch.

    Both secrets are as `SecretCipher` stores them.
    """

    __tablename__ = "webhook_secrets"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    secret: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    previous_secret: str | None = None
    previous_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WebhookRefusalRow(SQLModel, table=True):
    """A URL that answered 410. Nothing more is sent to it for this owner until the owner replays a delivery."""

    __tablename__ = "webhook_refusals"  # pyright: ignore[reportAssignmentType]

    owner_id: str = Field(primary_key=True)
    url: str = Field(primary_key=True)
    refused_at: datetime = Field(sa_type=UtcDateTime)
