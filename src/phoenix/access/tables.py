"""The table of API keys. A key itself is never stored, only a digest of its secret."""

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from phoenix.db.columns import UtcDateTime


class ApiKeyRow(SQLModel, table=True):
    """One key. Its id is public and names the owner of everything that the key makes."""

    __tablename__ = "api_keys"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    name: str
    digest: str
    """SHA-256 of the secret, in hexadecimal: it has 256 random bits, so nothing slower is needed."""
    scopes: list[str] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
