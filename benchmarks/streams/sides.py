"""The two contenders as one measurement sees them: where to read, how to publish, whom to charge."""

import asyncio
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import redis
from stream_servers import nchan, phoenix_replica

from clients import Readers
from phoenix.clock import utc_now
from phoenix.contract import ClipProgress
from phoenix.events.pubsub.channels import Channels

EVENT = "clip.progress"
_SENT_AT = re.compile(rb'"job_eta_s":([0-9.]+)')


@dataclass(frozen=True)
class Side:
    """A server that has just started, with one path and one channel per job."""

    process: psutil.Process
    port: int
    paths: list[str]
    greeting: bytes
    publish: Callable[[int, int, Readers], None]
    """(channels, step, readers): sends one event to each of the first so many channels; may read meanwhile."""

    def readers(self) -> Readers:
        return Readers(self.port, greeting=self.greeting, marker=f"event: {EVENT}".encode(), sent_at=sent_at)


def progress(job_id: str, seq: int, step: int) -> bytes:
    """About 300 bytes, as a worker sends them; `job_eta_s` carries the time it was sent."""
    event = ClipProgress(
        job_id=job_id, seq=seq, at=utc_now(), clip_index=0, attempt=1, step=step, steps=100_000,
        progress=step / 100_000, job_progress=step / 100_000, job_eta_s=time.time(),
    )  # fmt: skip
    return event.model_dump_json().encode()


def sent_at(data: bytes) -> float | None:
    found = _SENT_AT.search(data)
    return float(found[1]) if found else None


@contextmanager
def phoenix_side(redis_url: str, channels: int) -> Iterator[Side]:
    """Events are published to Redis, as workers do it. Its jobs wait: no worker runs."""
    names = Channels("phoenix")
    with tempfile.TemporaryDirectory() as folder, phoenix_replica(Path(folder), redis_url) as (process, port):
        client = redis.Redis.from_url(f"{redis_url}/0")
        jobs = submit(port, channels)

        def publish(count: int, step: int, _readers: Readers) -> None:
            with client.pipeline(transaction=False) as pipe:
                for job_id, seq in jobs[:count]:
                    pipe.publish(names.job(job_id), progress(job_id, seq, step))
                pipe.execute()

        paths = [f"/v1/jobs/{job_id}/events" for job_id, _ in jobs]
        yield Side(process, port, paths, b"event: snapshot", publish)


@contextmanager
def nchan_side(redis_url: str, channels: int) -> Iterator[Side]:
    """Events are posted to another nginx, which passes them on through Redis: parsing HTTP is not charged."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as other,
        nchan(Path(folder), redis_url) as (process, port),
        nchan(Path(other), redis_url) as (_, publisher_port),
        _running_loop() as loop,
    ):
        limits = httpx.Limits(max_connections=10)
        url = f"http://127.0.0.1:{publisher_port}"
        http = httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=30)

        async def post(count: int, step: int) -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(count):
                    body = progress(f"job-{number}".ljust(30, "x"), 1, step)
                    headers = {"X-EventSource-Event": EVENT}
                    tasks.create_task(http.post(f"/pub/job-{number}", content=body, headers=headers))

        def publish(count: int, step: int, readers: Readers) -> None:
            posted = asyncio.run_coroutine_threadsafe(post(count, step), loop)
            while not posted.done():
                readers.pump(0.01)
            posted.result()

        paths = [f"/sub/job-{number}" for number in range(channels)]
        yield Side(process, port, paths, b"HTTP/1.1 200", publish)


def submit(port: int, count: int) -> list[tuple[str, int]]:
    """(job id, last number) of jobs that wait."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
        jobs = [http.post("/v1/reels", json={"clips": [{"prompt": "x"}]}).json() for _ in range(count)]
    return [(job["id"], job["last_seq"]) for job in jobs]


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
