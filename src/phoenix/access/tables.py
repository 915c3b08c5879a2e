"""The tables of API keys, of which only a digest is stored, of acts of administrators, and of shared secrets."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field, SQLModel

from phoenix.db import UtcDateTime


class ApiKeyRow(SQLModel, table=True):
    """One key. Its id is public and names the owner of everything that the key makes."""

    __tablename__ = "api_keys"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    name: str
    digest: str
    """SHA-256 of the secret, in hexadecimal: it has 256 random bits, so nothing slower is needed."""
    previous_digest: str | None = None
    """The digest of the previous secret, which is valid until `previous_until`."""
    previous_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    scopes: list[str] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The key is refused from then on; never if null."""
    max_stored_bytes: int | None = Field(default=None, sa_type=BigInteger)
    """What the key may store; 0 means no limit, null the limit of the settings."""
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    purged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When everything that the key had made was deleted."""


class AuditRow(SQLModel, table=True):
    """One act of an administrator, or a change of a key. A purge of a key leaves its rows."""

    __tablename__ = "audit_log"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index(None, "at"), Index(None, "target", "id"))

    id: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    actor_id: str | None = None
    """Id of the key; null for a command on the server."""
    account: str | None = None
    """The account of the machine that ran a command; null for a request."""
    address: str | None = None
    """The client's address; null for a command."""
    action: str
    target: str
    """Id or name of what was acted on."""
    affected_id: str | None = None
    """Id of the key that owns the target, if one does."""
    outcome: str
    """`done`, or the code of the refusal."""
    details: dict[str, Any] = Field(default_factory=dict[str, Any], sa_type=JSON)
    request_id: str | None = None


class SecretRow(SQLModel, table=True):
    """A secret that all replicas share. The first replica that needs it generates it."""

    __tablename__ = "secrets"  # pyright: ignore[reportAssignmentType]

    name: str = Field(primary_key=True)
    value: str
    """As `SecretCipher` stores it."""
