"""The schedules of the specifications that Phoenix started from, with paced clips, on the clock.

A clip holds its slot for a fixed time. The ideal is that time, as often as clips follow each other on the busiest slot.
The end is the start of the last clip plus its time, because encoding overlaps with the next clips. Four instances of
`phoenix up`, each with PostgreSQL and with its slots in one process, run at the same time, and so do four Celery
workers with as many threads.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from suite.borrowed import PrivatePostgres, child_processes, redis_server
from suite.environments import PeersMissing, open_peers
from suite.groups import Group
from suite.results import Kind, Measurement, Round, Row
from suite.up import OwnerStream, Up, reel, running_up

_DONE = "bench:done"


@dataclass(frozen=True)
class Schedule:
    """`turns` clips follow each other on the busiest slot."""

    clips: int
    slots: int
    clip_s: float

    @property
    def turns(self) -> int:
        return -(-self.clips // self.slots)

    @property
    def ideal_s(self) -> float:
        return self.turns * self.clip_s

    @property
    def name(self) -> str:
        return f"schedule-{self.clips}-on-{self.slots}"


# All take as long, so that they can run at the same time.
_IDEAL_S = 28.0
SCHEDULES = tuple(
    Schedule(clips, slots, _IDEAL_S / -(-clips // slots)) for clips, slots in ((15, 3), (20, 5), (50, 8), (50, 56))
)
ROWS = tuple(
    Row(
        each.name,
        f"{each.clips} clips on {each.slots} slots: {each.turns} in a row",
        "s",
        "the ideal",
        1.03,
        Kind.ONE_SIDE,
    )
    for each in SCHEDULES
)


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    chosen = [each for each in SCHEDULES if each.name in {row.name for row in rows}]
    with ExitStack() as stack:
        ups = {each.name: stack.enter_context(_up(each)) for each in chosen}
        try:
            celeries = {each.name: stack.enter_context(_celery(each)) for each in chosen}
        except PeersMissing:
            celeries = {}
        pool = stack.enter_context(ThreadPoolExecutor(2 * len(chosen)))
        turns: list[Mapping[str, float]] = []
        celery_s: list[Mapping[str, float]] = []
        for number in range(rounds):
            ours = {each.name: pool.submit(_run_reel, ups[each.name], each) for each in chosen}
            # Celery is shown, and not compared: once is enough.
            theirs = {each.name: pool.submit(celeries[each.name].run) for each in chosen if celeries and not number}
            turns.append({name: future.result() for name, future in ours.items()})
            celery_s.append({name: future.result() for name, future in theirs.items()})
    for row, each in ((row, each) for row in rows for each in chosen if each.name == row.name):
        took = [found[each.name] for found in celery_s if each.name in found]
        note = f" (Celery took {statistics.median(took):.1f} s)" if took else ""
        shown = dataclasses.replace(row, reference=row.reference + note)
        yield Measurement(shown, [Round(turn[each.name], each.ideal_s) for turn in turns])


@contextmanager
def _up(schedule: Schedule) -> Generator[Up]:
    with (
        PrivatePostgres.running() as postgres,
        running_up(
            PHOENIX_DATABASE__URL=postgres.url.render_as_string(hide_password=False),
            # One process with 56 clips would lose its leases on a busy machine, and render them again.
            PHOENIX_SCHEDULER__LEASE_S="60",
            PHOENIX_WORKER__MAX_CONCURRENT_GENERATIONS=str(schedule.slots),
            PHOENIX_ANIMATIC__SECONDS_PER_STEP=str(schedule.clip_s / 4),
        ) as up,
    ):
        yield up


def _run_reel(up: Up, schedule: Schedule) -> float:
    """Seconds from the POST to the end of the last clip's time on its slot."""
    stream = OwnerStream(up.port)
    sent_s = time.time()
    job_id = up.post(reel(schedule.clips, steps=4))
    last_s = max(stream.next_of(job_id, "clip.started").at_s for _ in range(schedule.clips))
    up.end_well(stream, job_id)
    return last_s - sent_s + schedule.clip_s


@dataclass(frozen=True)
class _Celery:
    schedule: Schedule
    url: str

    def run(self) -> float:
        """Seconds from the first `delay` to the end of the last task."""
        code = (
            "import sys; from celery_app import render\n"
            "for n in range(int(sys.argv[1])): render.delay(f'task-{n}', float(sys.argv[2]))"
        )
        arguments = [str(self.schedule.clips), str(self.schedule.clip_s)]
        environment = open_peers().variables(BROKER=self.url)
        with Redis.from_url(self.url) as redis:
            child_processes.run([open_peers().binary("python"), "-c", code, *arguments], env=environment, check=True)
            times = [self._next_times(redis) for _ in range(self.schedule.clips)]
        return max(end_s for _, end_s in times) - min(start_s for start_s, _ in times)

    def _next_times(self, redis: Redis) -> tuple[float, float]:
        """When the next task that ends has begun, and when it has ended."""
        found = redis.blpop([_DONE], timeout=4 * self.schedule.ideal_s)
        assert found is not None, "the Celery worker does nothing"
        _, start_s, end_s = json.loads(found[1])  # type: ignore[index]
        return start_s, end_s


@contextmanager
def _celery(schedule: Schedule) -> Generator[_Celery]:
    peers = open_peers()
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as (_, redis_url):
        url = f"{redis_url}/0"
        options = ["--pool", "threads", "--concurrency", str(schedule.slots)]
        process = child_processes.start(
            [peers.binary("celery"), "--quiet", "--app", "celery_app", "worker", *options],
            env=peers.variables(BROKER=url),
            stdout=-3,
            stderr=-3,
        )
        try:
            yield _Celery(schedule, url)
        finally:
            process.terminate()
            process.wait(30)


GROUP = Group("schedule", ROWS, measure)
