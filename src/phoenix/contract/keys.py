"""An API key, as its holder sees it."""

from pydantic import Field

from phoenix.contract.wire_types import Timestamp, View


class ApiKey(View):
    """The key of the request, what it may do, and what it stores. The secret is not shown."""

    id: str = Field(
        description="Owns what the key makes. `anonymous` on a server without keys.", examples=["0f1e2d3c4b5a"]
    )
    scopes: list[str] = Field(examples=[["read", "write"]])
    expires_at: Timestamp | None = Field(default=None, description="The key is refused from then on; null if never.")
    stored_bytes: int = Field(description="Bytes of all its files: uploads, and what its jobs have made.")
    max_stored_bytes: int | None = Field(
        default=None, description="At this size uploads and new jobs are refused; null if there is no limit."
    )
