"""What a request costs a replica: CPU of the server process, next to peers that write and read the same rows.

One replica and each peer, with one process each, take turns on the same PostgreSQL, over one connection each. Phoenix
has its keys, limits, quota, event log and Redis; the peers have the rows alone. Another replica leads, and dispatches
the tasks.
"""

import http.client
import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.borrowed import PEERS, PrivatePostgres, child_processes, free_port, redis_server, running
from suite.environments import PeersMissing, open_peers
from suite.groups import Group
from suite.processes import cpu_s, tree_of
from suite.profiles import PROFILER
from suite.results import Measurement, Round, Row

_CLIP = {"prompt": "a red balloon over a harbour at dawn", "duration_s": 0.5}
_REEL = {"model": "animatic", "resolution": "240p", "fps": 8, "steps": 5}
_REQUESTS = 60
_REQUESTS_OF_100_CLIPS = 8
_LISTED_JOBS = 50
_CPU = "ms of CPU"


@dataclass(frozen=True)
class Ask:
    """A kind of request. `path` may name the job that was made first."""

    method: str
    path: str
    clips: int = 0
    is_conditional: bool = False


POST_3, POST_100 = Ask("POST", "/v1/reels", clips=3), Ask("POST", "/v1/reels", clips=100)
JOB = "/v1/jobs/{job_id}"
_GETS: Mapping[str, Ask] = {
    "get-job": Ask("GET", JOB),
    "get-job-304": Ask("GET", JOB, is_conditional=True),
    "get-models": Ask("GET", "/v1/models"),
    "get-queue": Ask("GET", "/v1/queue"),
    "get-50-jobs": Ask("GET", f"/v1/jobs?limit={_LISTED_JOBS}"),
}
_POSTS: Mapping[str, str] = {"post-core": "core", "post-seeds": "seeds", "post-asgi": "asgi"}
"""The peer of each row."""
_CORE = "FastAPI, SQLAlchemy Core"
_SAME_BYTES = "FastAPI, the same bytes from memory"

ROWS = (
    Row("post-core", "POST of a reel of 3 clips", _CPU, f"{_CORE}, the same rows", 1.5),
    Row("post-seeds", "POST of a reel of 3 clips", _CPU, "Flask, gunicorn 1 x 8, Celery, psycopg", 0.7),
    Row("post-asgi", "POST of a reel of 3 clips", _CPU, "bare ASGI, asyncpg, the same rows", None),
    Row("post-100", "POST of 100 clips, for each clip", _CPU, "for each clip of a POST of 3", 0.3),
    Row("get-job", "GET of a job", _CPU, "FastAPI, one SELECT, the same bytes", 1.3),
    Row("get-job-304", "GET of a job that has not changed: 304", _CPU, "FastAPI, one SELECT, the bytes", 0.8),
    Row("get-models", "GET of the models", _CPU, _SAME_BYTES, 1.5),
    Row("get-queue", "GET of the queues", _CPU, _SAME_BYTES, 1.5),
    Row("get-50-jobs", "GET of 50 jobs", _CPU, _SAME_BYTES, 1.5),
)


@dataclass
class Side:
    """A server with its processes, and one connection to it."""

    pid: int
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

    def cost_ms(self, kind: Ask, requests: int) -> float:
        """CPU of the server per request."""
        path = kind.path.format(job_id=self.job_id)
        body = reel(kind.clips) if kind.clips else None
        self.reconnect()
        # The peers have no tags, and answer in full.
        tag = self.ask(kind.method, path)[2].get("etag") if kind.is_conditional else None
        headers = {"If-None-Match": tag} if tag else {}
        processes = tree_of(self.pid)
        before_s = cpu_s(processes)
        for _ in range(requests):
            status, answer, _ = self.ask(kind.method, path, body, **headers)
            assert status == (304 if headers else 202 if kind.clips else 200), answer
        return (cpu_s(processes) - before_s) / requests * 1000


def reel(clips: int) -> dict[str, Any]:
    return {**_REEL, "clips": [_CLIP] * clips}


@contextmanager
def phoenix_replica(environment: Mapping[str, str], key: str) -> Generator[Side]:
    port = free_port()
    argv = [sys.executable, "-m", "phoenix", "api", "--port", str(port)]
    with running(argv, port, env=dict(environment)) as process:
        side = Side(process.pid, port, {"Authorization": f"Bearer {key}"})
        side.make_job()
        yield side


@contextmanager
def peer_server(command: Sequence[str], environment: Mapping[str, str], port: int) -> Generator[Side]:
    with running(list(command), port, env=dict(environment)) as process:
        side = Side(process.pid, port)
        side.make_job()
        yield side


def uvicorn_of(module: str, port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port), "--log-level", "error"]


@contextmanager
def core_peer(database_url: str, like: Side) -> Generator[Side]:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "DATABASE": database_url}
    with peer_server([*uvicorn_of("fastapi_core", port), "--no-access-log"], environment, port) as side:
        paths = {"/v1/models": "/v1/models", "/v1/queue": "/v1/queue", "/v1/jobs": f"/v1/jobs?limit={_LISTED_JOBS}"}
        like.reconnect()
        answers = {path: like.ask("GET", asked)[1].decode() for path, asked in paths.items()}
        answers[f"/v1/jobs/{side.job_id}"] = like.ask("GET", f"/v1/jobs/{like.job_id}")[1].decode()
        side.ask("PUT", "/answers", answers)
        yield side


@contextmanager
def asgi_peer(database_url: str) -> Generator[Side]:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "DATABASE": database_url}
    with peer_server([*uvicorn_of("bare_asgi", port), "--no-access-log"], environment, port) as side:
        yield side


@contextmanager
def seeds_peer(database_url: str, redis_url: str) -> Generator[Side]:
    port, peers = free_port(), open_peers()
    options = ["--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8", "--log-level", "error"]
    environment = peers.variables(DATABASE=database_url, BROKER=f"{redis_url}/1")
    with peer_server([peers.binary("gunicorn"), *options, "seeds_app:app"], environment, port) as side:
        yield side


def environment_of(folder: Path, database_url: str, redis_url: str) -> Mapping[str, str]:
    return {
        **os.environ,
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
def sides(names: frozenset[str]) -> Generator[Mapping[str, Side]]:
    """Phoenix and these peers, on the same PostgreSQL and Redis. Peers that cannot be installed are left out."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, redis_url = stack.enter_context(redis_server(folder))
        postgres = stack.enter_context(PrivatePostgres.running())
        plain_url = postgres.url.render_as_string(hide_password=False)
        environment = environment_of(folder, plain_url, redis_url)
        key = create_key(environment)
        # The replica that started first leads: it dispatches the tasks of all replicas, which is no part of a request.
        stack.enter_context(phoenix_replica(environment, key))
        found = {"phoenix": stack.enter_context(phoenix_replica(environment, key))}
        for _ in range(_LISTED_JOBS):
            found["phoenix"].make_job()
        async_url = postgres.async_url.render_as_string(hide_password=False)
        found["core"] = stack.enter_context(core_peer(async_url, found["phoenix"]))
        if "asgi" in names:
            found["asgi"] = stack.enter_context(asgi_peer(plain_url))
        if "seeds" in names:
            try:
                found["seeds"] = stack.enter_context(seeds_peer(plain_url, redis_url))
            except PeersMissing as error:
                print(error, file=sys.stderr)
        yield found


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    names = {row.name: row for row in rows}
    peers = frozenset(_POSTS[name] for name in names if name in _POSTS)
    with sides(peers) as found, PROFILER.sampling(found["phoenix"].pid, "requests"):
        for name, kind in _GETS.items():
            if name in names:
                turns = take_turns(kind, {side: found[side] for side in ("phoenix", "core")}, _REQUESTS, rounds)
                yield Measurement(names[name], rounds_of(turns, "core"))
        if names.keys() & {*_POSTS, "post-100"}:
            yield from measure_posts(names, found, rounds)


def measure_posts(names: Mapping[str, Row], found: Mapping[str, Side], rounds: int) -> Iterator[Measurement]:
    turns = take_turns(POST_3, found, _REQUESTS, rounds)
    for name, peer in _POSTS.items():
        if name in names and peer in found:
            yield Measurement(names[name], rounds_of(turns, peer))
        elif name in names:
            yield Measurement(names[name], (), "the packages of the peer could not be installed")
    if "post-100" in names:
        ours = found["phoenix"]
        ours.cost_ms(POST_100, 3)
        yield Measurement(
            names["post-100"],
            [
                Round(ours.cost_ms(POST_100, _REQUESTS_OF_100_CLIPS) / 100, ours.cost_ms(POST_3, _REQUESTS) / 3)
                for _ in range(rounds)
            ],
        )


def take_turns(kind: Ask, found: Mapping[str, Side], requests: int, rounds: int) -> list[Mapping[str, float]]:
    """The cost of each side in milliseconds of CPU, round by round, after one that warms up."""
    for side in found.values():
        side.cost_ms(kind, requests // 3)
    return [{name: side.cost_ms(kind, requests) for name, side in found.items()} for _ in range(rounds)]


def rounds_of(turns: Sequence[Mapping[str, float]], peer: str) -> list[Round]:
    return [Round(turn["phoenix"], turn[peer]) for turn in turns]


GROUP = Group("requests", ROWS, measure)
