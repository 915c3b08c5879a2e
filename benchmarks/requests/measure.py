"""What a request costs a replica, beside FastAPI and SQLAlchemy Core with the same rows, in one run.

    python benchmarks/requests/measure.py [--rounds 7] [--requests 100] [--only POST] [--beside PATH] [--json FILE]

One replica and one peer, each with one process, take turns on the same PostgreSQL. Phoenix has its keys, limits, quota,
event log and Redis, the peer has the rows alone. Another replica leads, and hands the tasks out. CPU is the server
process's own, user and system. A ratio is the median over the rounds, with the lowest and the highest: a machine whose
rounds differ widely shows it there. `--beside` names the checkout of another version of Phoenix, which takes its turns
too.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "streams"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from servers import free_port, redis_server, running

from faults.servers import PrivatePostgres
from fixtures import child_processes

_CLIP = {"prompt": "a red balloon over a harbour at dawn", "duration_s": 0.5}
_REEL = {"model": "animatic", "resolution": "240p", "fps": 8, "steps": 5}


@dataclass(frozen=True)
class Row:
    """One kind of request. `path` may name the job that was made first."""

    name: str
    method: str
    path: str
    clips: int = 0
    is_conditional: bool = False
    aim: float | None = None
    """The ratio to the peer that the row is meant to reach."""


ROWS = (
    Row("POST, 3 clips", "POST", "/v1/reels", clips=3, aim=1.5),
    Row("GET job", "GET", "/v1/jobs/{job_id}", aim=1.3),
    Row("GET job, 304", "GET", "/v1/jobs/{job_id}", is_conditional=True, aim=0.8),
    Row("GET models", "GET", "/v1/models", aim=1.5),
    Row("GET queue", "GET", "/v1/queue", aim=1.5),
    Row("GET 50 jobs", "GET", "/v1/jobs?limit=50", aim=1.5),
    # Last, so that the list above is of jobs of three clips.
    Row("POST, 100 clips", "POST", "/v1/reels", clips=100),
)


@dataclass
class Side:
    """A server, and one connection to it."""

    process: psutil.Process
    port: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    job_id: str = ""

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        given = {**self.headers, **headers, **({"Content-Type": "application/json"} if body is not None else {})}
        self._connection.request(method, path, json.dumps(body) if body is not None else None, given)
        response = self._connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())

    def reconnect(self) -> None:
        """A server closes a connection that is idle for some seconds, such as during the turns of the others."""
        self._connection.close()

    def make_job(self) -> None:
        status, body, _ = self.ask("POST", "/v1/reels", reel(3))
        assert status == 202, body
        self.job_id = json.loads(body)["id"]

    def cost_ms(self, row: Row, requests: int) -> float:
        """CPU of the server per request."""
        path = row.path.format(job_id=self.job_id)
        body = reel(row.clips) if row.clips else None
        self.reconnect()
        # The peer has no tags, and answers in full.
        tag = self.ask(row.method, path)[2].get("etag") if row.is_conditional else None
        headers = {"If-None-Match": tag} if tag else {}
        before_s = cpu_s(self.process)
        for _ in range(requests):
            status, answer, _ = self.ask(row.method, path, body, **headers)
            assert status == (304 if headers else 202 if row.clips else 200), answer
        return (cpu_s(self.process) - before_s) / requests * 1000


def cpu_s(process: psutil.Process) -> float:
    """Time on a core of all threads so far. Finer than the ticks of 10 ms in which `cpu_times` counts."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def reel(clips: int) -> dict[str, Any]:
    return {**_REEL, "clips": [_CLIP] * clips}


@contextmanager
def phoenix(environment: Mapping[str, str], key: str) -> Generator[Side]:
    port = free_port()
    argv = [sys.executable, "-m", "phoenix", "api", "--port", str(port)]
    with running(argv, port, env=dict(environment)) as process:
        side = Side(psutil.Process(process.pid), port, {"Authorization": f"Bearer {key}"})
        side.make_job()
        yield side


@contextmanager
def peer(database_url: str, like: Side) -> Generator[Side]:
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "peer:app", "--port", str(port), "--no-access-log", "--log-level", "error"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "DATABASE": database_url}
    with running(argv, port, env=environment) as process:
        side = Side(psutil.Process(process.pid), port)
        side.make_job()
        paths = {"/v1/models": "/v1/models", "/v1/queue": "/v1/queue", "/v1/jobs": "/v1/jobs?limit=50"}
        like.reconnect()
        answers = {path: like.ask("GET", asked)[1].decode() for path, asked in paths.items()}
        answers[f"/v1/jobs/{side.job_id}"] = like.ask("GET", f"/v1/jobs/{like.job_id}")[1].decode()
        side.reconnect()
        side.ask("PUT", "/answers", answers)
        yield side


def environment_of(folder: Path, database_url: str, redis_url: str, source: Path | None) -> Mapping[str, str]:
    return {
        **os.environ,
        **({"PYTHONPATH": str(source / "src")} if source else {}),
        "PHOENIX_DATA_DIR": str(folder),
        "PHOENIX_DATABASE__URL": database_url,
        "PHOENIX_REDIS__URL": f"{redis_url}/0",
        "PHOENIX_AUTH": "required",
        "PHOENIX_LOG__LEVEL": "WARNING",
        # A limit that is checked for each request, and never reached.
        "PHOENIX_LIMITS__REQUESTS_PER_MINUTE": "1000000",
        "PHOENIX_LIMITS__MAX_QUEUED_JOBS": "1000000",
        "PHOENIX_LIMITS__QUEUED_JOBS_PER_KEY": "1000000",
    }


def create_key(environment: Mapping[str, str]) -> str:
    argv = [sys.executable, "-m", "phoenix", "keys", "create", "bench", "--scope", "read", "--scope", "write"]
    made = child_processes.run(argv, env=dict(environment), check=True, capture_output=True, text=True)
    return next(word for word in made.stdout.split() if word.startswith("phx_"))


@contextmanager
def sides(beside: Path | None) -> Generator[Mapping[str, Side]]:
    """All servers, on the same PostgreSQL and Redis."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, redis_url = stack.enter_context(redis_server(folder))
        postgres = stack.enter_context(PrivatePostgres.running())
        database_url = postgres.url.render_as_string(hide_password=False)
        environment = environment_of(folder, database_url, redis_url, None)
        key = create_key(environment)
        # The replica that started first leads: it hands the tasks of all replicas out, which is no part of a request.
        stack.enter_context(phoenix(environment, key))
        found = {"phoenix": stack.enter_context(phoenix(environment, key))}
        if beside:
            other = environment_of(folder, database_url, redis_url, beside)
            found["beside"] = stack.enter_context(phoenix(other, key))
        peer_url = postgres.async_url.render_as_string(hide_password=False)
        found["peer"] = stack.enter_context(peer(peer_url, found["phoenix"]))
        yield found


def measure(row: Row, found: Mapping[str, Side], *, rounds: int, requests: int) -> dict[str, Any]:
    """The cost of each side in milliseconds of CPU, and the ratio to the peer in each round."""
    requests = max(5, requests // 10) if row.clips > 10 else requests
    for side in found.values():
        side.cost_ms(row, min(requests, 20))
    costs = [{name: side.cost_ms(row, requests) for name, side in found.items()} for _ in range(rounds)]
    ratios = [cost["phoenix"] / cost["peer"] for cost in costs]
    figures: dict[str, Any] = {name: round(statistics.median(cost[name] for cost in costs), 2) for name in found}
    figures |= {"ratio": round(statistics.median(ratios), 2), "lowest": round(min(ratios), 2)}
    return {"row": row.name, **figures, "highest": round(max(ratios), 2), "aim": row.aim}


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join("" if row[name] is None else str(row[name]) for name in columns) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    chosen = [row for row in ROWS if given.only in row.name]
    with sides(given.beside) as found:
        figures = [measure(row, found, rounds=given.rounds, requests=given.requests) for row in chosen]
    print_table(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
