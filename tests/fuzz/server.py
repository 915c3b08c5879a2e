"""The server that is fuzzed: a real `phoenix api` that requires keys, on PostgreSQL and Redis, without workers."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy.engine import URL

from fixtures.fleet import ApiReplica
from phoenix.settings import Settings, load_settings

ENVIRONMENT: Mapping[str, str] = {
    "PHOENIX_AUTH": "required",
    # No limit on what one key may ask for: 429 would hide what lies behind it.
    "PHOENIX_LIMITS__REQUESTS_PER_MINUTE": "0",
    "PHOENIX_LIMITS__FAILED_AUTH_PER_MINUTE": "0",
    "PHOENIX_LIMITS__QUEUED_JOBS_PER_KEY": "0",
    "PHOENIX_LIMITS__UPLOAD_BYTES_PER_DAY": "0",
    "PHOENIX_LIMITS__MAX_QUEUED_JOBS": "1000000",
    # A stream of a job that nobody works on would go on for an hour.
    "PHOENIX_EVENTS__MAX_STREAM_AGE_S": "0.2",
}


@dataclass(frozen=True)
class FuzzedServer:
    url: str
    log: Path
    settings: Settings
    """Of the server: for whoever looks into its database."""
    process: psutil.Process

    def resident_bytes(self) -> int:
        return self.process.memory_info().rss


@contextmanager
def run_server(folder: Path, database_url: URL, redis_url: str) -> Iterator[FuzzedServer]:
    """The database has the newest schema. The log is `api.log` in the folder."""
    url, log = database_url.render_as_string(hide_password=False), folder / "api.log"
    places = {"PHOENIX_DATA_DIR": str(folder / "data"), "DATABASE_URL": url, "REDIS_URL": redis_url}
    server = ApiReplica({**os.environ, **ENVIRONMENT, **places}, log)
    settings = load_settings(data_dir=folder / "data", database={"url": url}, redis={"url": redis_url})
    try:
        yield FuzzedServer(server.url, log, settings, psutil.Process(server.pid))
    finally:
        server.end()
