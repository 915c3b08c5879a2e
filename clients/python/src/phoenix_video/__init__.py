"""The Python client of Phoenix, a self-hosted video-generation backend.

`phoenix_video.contract` has the types of requests, answers and events.
"""

from importlib.metadata import version

# Read by the client while it is imported.
__version__ = version("phoenix-video")

from phoenix_video.client import (
    AsyncPhoenix,
    DownloadCorrupted,
    Event,
    JobUnsuccessful,
    NoOutput,
    Phoenix,
    PhoenixClientError,
    PhoenixProblem,
    PhoenixUnreachable,
    RetryPolicy,
)
from phoenix_video.contract import ClipEdit, ClipRequest, Condition, EditRequest, Job, ReelRequest, StitchRequest

__all__ = [
    "AsyncPhoenix",
    "ClipEdit",
    "ClipRequest",
    "Condition",
    "DownloadCorrupted",
    "EditRequest",
    "Event",
    "Job",
    "JobUnsuccessful",
    "NoOutput",
    "Phoenix",
    "PhoenixClientError",
    "PhoenixProblem",
    "PhoenixUnreachable",
    "ReelRequest",
    "RetryPolicy",
    "StitchRequest",
]
