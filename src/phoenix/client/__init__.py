"""The Python client of the public API. It depends on the contract and on HTTP, not on the server."""

from phoenix.client.asynchronous import AsyncPhoenix
from phoenix.client.blocking import Phoenix
from phoenix.client.errors import (
    DownloadCorrupted,
    JobUnsuccessful,
    NoOutput,
    PhoenixClientError,
    PhoenixProblem,
    PhoenixUnreachable,
)
from phoenix.client.transport import RetryPolicy
from phoenix.client.watching import Event

__all__ = [
    "AsyncPhoenix",
    "DownloadCorrupted",
    "Event",
    "JobUnsuccessful",
    "NoOutput",
    "Phoenix",
    "PhoenixClientError",
    "PhoenixProblem",
    "PhoenixUnreachable",
    "RetryPolicy",
]
