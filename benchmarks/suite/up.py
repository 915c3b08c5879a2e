"""`phoenix up` as a measured process, and one client that posts reels and hears their events."""

import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from suite.borrowed import child_processes, wait_until

READY_LINE = "Phoenix is ready: "
_START_WITHIN_S = 200.0
_WORKERS = 2
"""Of `up`: one for clips, one for media."""

CLIP: Mapping[str, object] = {"prompt": "a red balloon over a harbour at dawn", "duration_s": 0.5}
REEL: Mapping[str, object] = {"model": "animatic", "resolution": "240p", "fps": 8, "steps": 1}


def reel(clips: int, **fields: object) -> dict[str, Any]:
    return {**REEL, "clips": [CLIP] * clips, **fields}


@dataclass(frozen=True)
class Up:
    process: psutil.Process
    port: int
    ready_s: float
    """From the start of the process until it said that it is ready."""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The parsed answer. Raises `AssertionError` for an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        given = json.dumps(body) if body is not None else None
        connection.request(method, path, given, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        assert response.status < 400, answer
        return json.loads(answer)

    def read(self, path: str) -> tuple[int, bytes]:
        """The status and the body, whatever they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def end_well(self, stream: "OwnerStream", job_id: str) -> "Heard":
        """Waits for the end of the job. Raises `AssertionError` with its error unless it has succeeded."""
        ended = stream.next_of(job_id, *ENDINGS)
        assert ended.type == "job.succeeded", self.ask("GET", f"/v1/jobs/{job_id}")["error"]
        return ended

    def count_workers(self) -> int:
        """The workers that have reported, and are done with their start."""
        return sum(worker["state"] != "starting" for worker in self.ask("GET", "/v1/workers")["data"])

    def post(self, body: object) -> str:
        """The id of the new job."""
        return self.ask("POST", "/v1/reels", body)["id"]


@contextmanager
def running_up(**environment: str) -> Generator[Up]:
    """Runs until the block ends. Returns once its workers have reported."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "stderr.log").open("w") as log:
        variables = {**os.environ, "PHOENIX_DATA_DIR": folder, "PHOENIX_LOG__LEVEL": "WARNING", **environment}
        began_s = time.monotonic()
        process = child_processes.start(
            [sys.executable, "-m", "phoenix", "up", "--port", "0"],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            assert line.startswith(READY_LINE), Path(log.name).read_text()[-500:]
            up = Up(psutil.Process(process.pid), int(line.rpartition(":")[2]), time.monotonic() - began_s)
            wait_until(lambda: up.count_workers() >= _WORKERS, _START_WITHIN_S)
            yield up
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Heard:
    """An event of the stream, with the time on the clock when it was read."""

    at_s: float
    type: str
    job_id: str


class OwnerStream:
    """The events of all jobs, which a thread reads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next_of(self, job_id: str, *types: str) -> Heard:
        """The next event of the job with one of these types; events before it are dropped."""
        while True:
            heard = self._heard.get(timeout=_START_WITHIN_S)
            if heard.job_id == job_id and heard.type in types:
                return heard

    def ends_of(self, job_ids: Collection[str]) -> Mapping[str, str]:
        """How each of these jobs ended; the events of others are dropped."""
        ends: dict[str, str] = {}
        while len(ends) < len(job_ids):
            heard = self._heard.get(timeout=_START_WITHIN_S)
            if heard.job_id in job_ids and heard.type in ENDINGS:
                ends[heard.job_id] = heard.type
        return ends

    def _read(self) -> None:
        kind = ""
        while line := self._response.readline():
            if line.startswith(b"event:"):
                kind = line[6:].strip().decode()
            elif line.startswith(b"data:") and kind.startswith(("clip.", "job.")):
                now_s = time.time()
                self._heard.put(Heard(now_s, kind, json.loads(line[5:]).get("job_id", "")))


ENDINGS = ("job.succeeded", "job.failed", "job.canceled", "job.expired")
