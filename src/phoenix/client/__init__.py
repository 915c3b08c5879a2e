"""The Python client of the public API. Knows the contract and HTTP, and nothing of the server behind it."""

from phoenix.client.asynchronous import AsyncPhoenix
from phoenix.client.blocking import Phoenix
from phoenix.client.errors import DownloadCorrupted, NoOutput, PhoenixClientError, PhoenixProblem, PhoenixUnreachable
from phoenix.client.transport import RetryPolicy
from phoenix.client.watching import Event

__all__ = [
    "AsyncPhoenix",
    "DownloadCorrupted",
    "Event",
    "NoOutput",
    "Phoenix",
    "PhoenixClientError",
    "PhoenixProblem",
    "PhoenixUnreachable",
    "RetryPolicy",
]
