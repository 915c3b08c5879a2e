"""From a POST until its clip has started on an idle worker, on the clock, next to the bare workers of arq and Celery.

`phoenix up` runs with SQLite, and with a PostgreSQL that does not wait for the disk. A client posts a reel of one clip,
reads `clip.started` from its stream, and waits for the end of the job. The bare workers have no database and no HTTP: a
task is put into Redis, and the worker reports when it began.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import Redis

from phoenix.worker.child_process import PROCESS_NAME
from suite.borrowed import PEERS, PrivatePostgres, child_processes, redis_server
from suite.environments import PeersMissing, open_peers
from suite.groups import Group
from suite.profiles import PROFILER
from suite.results import Kind, Measurement, Round, Row
from suite.up import ENDINGS, OwnerStream, Up, reel, running_up

_CLIPS = 20
"""In each round."""
_WITHIN_MS, _SLOWEST_WITHIN_MS = 25.0, 60.0
_DONE = "bench:done"
_TITLE = "POST until `clip.started`, idle worker"
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_BARE = {"arq": "arq, its default poll, the worker alone", "celery": "Celery, the worker alone"}

ROWS = (
    *(
        row
        for key, name in _DATABASES.items()
        for row in (
            Row(f"started-{key}", f"{_TITLE}, {name}: median", "ms", "limit", 1.0, Kind.ONE_SIDE),
            Row(f"started-{key}-slowest", f"{_TITLE}, {name}: slowest of {_CLIPS}", "ms", "limit", 1.0, Kind.ONE_SIDE),
        )
    ),
    *(Row(f"started-{key}", f"{_TITLE}, SQLite: median", "ms", name, None) for key, name in _BARE.items()),
)


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    names = {row.name: row for row in rows}
    bare = [key for key in _BARE if f"started-{key}" in names]
    with ExitStack() as stack:
        ups = {key: stack.enter_context(_up(key)) for key in _DATABASES if _is_needed(key, names)}
        starters: dict[str, _BareWorker] = {}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"{stack.enter_context(redis_server(folder))[1]}/0"
        for key in bare:
            try:
                starters[key] = stack.enter_context(_bare_worker(key, url))
            except PeersMissing as error:
                yield Measurement(names[f"started-{key}"], (), str(error))
        streams = {key: OwnerStream(up.port) for key, up in ups.items()}
        turns: list[Mapping[str, list[float]]] = []
        for _ in range(rounds):
            turn = {key: [_first_clip_ms(up, streams[key]) for _ in range(_CLIPS)] for key, up in ups.items()}
            turn |= {key: [worker.start_ms() for _ in range(_CLIPS)] for key, worker in starters.items()}
            turns.append(turn)
    yield from _measurements(names, turns, starters)


def _is_needed(key: str, names: Mapping[str, Row]) -> bool:
    return any(name.startswith(f"started-{key}") or (key == "sqlite" and name[8:] in _BARE) for name in names)


def _measurements(
    names: Mapping[str, Row], turns: Sequence[Mapping[str, list[float]]], bare: Mapping[str, object]
) -> Iterator[Measurement]:
    for key in _DATABASES:
        if row := names.get(f"started-{key}"):
            yield Measurement(row, [Round(statistics.median(turn[key]), _WITHIN_MS) for turn in turns])
        if row := names.get(f"started-{key}-slowest"):
            yield Measurement(row, [Round(max(turn[key]), _SLOWEST_WITHIN_MS) for turn in turns])
    for key in bare:
        rounds = [Round(statistics.median(turn["sqlite"]), statistics.median(turn[key])) for turn in turns]
        yield Measurement(names[f"started-{key}"], rounds)


@contextmanager
def _up(database: str) -> Generator[Up]:
    with ExitStack() as stack:
        variables: dict[str, str] = {}
        if database == "postgresql":
            postgres = stack.enter_context(PrivatePostgres.running())
            variables["PHOENIX_DATABASE__URL"] = postgres.url.render_as_string(hide_password=False)
        up = stack.enter_context(running_up(**variables))
        for child in up.process.children(recursive=True):
            if child.name() == PROCESS_NAME:
                stack.enter_context(PROFILER.sampling(child.pid, f"started-{database}-worker-{child.pid}"))
        stream = OwnerStream(up.port)
        for _ in range(3):
            _first_clip_ms(up, stream)
        yield up


def _first_clip_ms(up: Up, stream: OwnerStream) -> float:
    sent_s = time.time()
    job_id = up.post(reel(1))
    started = stream.next_of(job_id, "clip.started")
    stream.next_of(job_id, *ENDINGS)
    return 1000 * (started.at_s - sent_s)


class _BareWorker:
    """Puts one task into the queue of a worker, and reads when it began."""

    def __init__(self, name: str, url: str) -> None:
        self._name, self._url = name, url
        self._redis = Redis.from_url(url)
        self._sender = child_processes.start(
            [_python_of(name), str(PEERS / "senders.py"), name],
            env=_variables_of(name, url),
            stdin=-1,
            stdout=-1,
            text=True,
        )

    def start_ms(self) -> float:
        assert self._sender.stdin is not None
        assert self._sender.stdout is not None
        self._sender.stdin.write("send\n")
        self._sender.stdin.flush()
        sent_s = float(self._sender.stdout.readline())
        found = self._redis.blpop([_DONE], timeout=60)
        assert found is not None
        _, began_s, _ = json.loads(found[1])  # type: ignore[index]
        return 1000 * (began_s - sent_s)

    def close(self) -> None:
        assert self._sender.stdin is not None
        self._sender.stdin.close()
        self._sender.wait(20)


@contextmanager
def _bare_worker(name: str, url: str) -> Generator[_BareWorker]:
    command = (
        [sys.executable, "-m", "arq", "arq_worker.WorkerSettings"]
        if name == "arq"
        else [open_peers().binary("celery"), "--quiet", "--app", "celery_app", "worker", "--pool", "solo"]
    )
    process = child_processes.start(command, env=_variables_of(name, url), stdout=-3, stderr=-3)
    worker = _BareWorker(name, url)
    try:
        # The first task shows that the worker is up.
        worker.start_ms()
        yield worker
    finally:
        worker.close()
        process.terminate()
        process.wait(30)


def _python_of(name: str) -> str:
    return sys.executable if name == "arq" else open_peers().binary("python")


def _variables_of(name: str, url: str) -> Mapping[str, str]:
    # Each has a Redis database of its own.
    variables = {"PYTHONPATH": str(PEERS), "BROKER": url}
    return {**os.environ, **variables} if name == "arq" else {**open_peers().variables(), **variables}


GROUP = Group("started", ROWS, measure)
