"""A fleet of real processes on one machine, each of which can be killed, frozen or cut off, and started again.

Every process is ended by its own pid when the cluster is closed, whatever a test did to it.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlmodel import col

from faults.checker import JobStory, build_stories
from faults.history import History, have_all_ended, read_history
from faults.network import ADDRESS, Host, Network
from faults.proxy import FaultyProxy
from faults.servers import PrivatePostgres
from fixtures import child_processes
from fixtures.ports import free_port
from fixtures.redis_server import RedisServer
from phoenix.access.keys import Scope, create_key
from phoenix.db.engine import open_engine
from phoenix.db.unit_of_work import Database
from phoenix.jobs.tables import WorkerRow
from phoenix.settings import DatabaseSettings
from phoenix.worker.child_process import PROCESS_NAME

Answer = TypeVar("Answer")

START_WITHIN_S = 300.0
ANSWER_WITHIN_S = 100.0
TINY: Mapping[str, object] = {"duration_s": 0.5, "resolution": "240p", "fps": 8, "steps": 5}
SABOTAGE_FOLDER = str(Path(__file__).parent / "sabotage")
FAST: Mapping[str, str] = {
    "PHOENIX_SCHEDULER__LEASE_S": "3",
    "PHOENIX_SCHEDULER__HEARTBEAT_S": "0.5",
    "PHOENIX_SCHEDULER__REAP_INTERVAL_S": "0.3",
    "PHOENIX_SCHEDULER__DISPATCH_INTERVAL_S": "0.3",
    "PHOENIX_SCHEDULER__DISPATCH_CHECK_S": "1.5",
    "PHOENIX_SCHEDULER__RETRY_DELAY_S": "0.2",
    "PHOENIX_WORKER__DRAIN_GRACE_S": "1",
    "PHOENIX_WORKER__RESTART_DELAY_S": "0.1",
    "PHOENIX_DATABASE__STATEMENT_TIMEOUT_S": "3",
}
"""Everything that waits for something waits briefly, so that a test of half a minute sees many faults."""
LONG_LEASE: Mapping[str, str] = {"PHOENIX_SCHEDULER__LEASE_S": "10"}
"""For workers whose attempts are counted: a busy machine stands still for seconds, which costs a brief lease."""


@dataclass
class Member:
    """One process of the fleet. For a worker that is its supervisor, whose child does the work."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    host: Host | None = None
    process: subprocess.Popen[bytes] | None = None
    is_frozen: bool = False

    def start(self) -> None:
        command = [sys.executable, "-m", "phoenix", *self.arguments]
        with self.log.open("ab") as log:
            self.process = child_processes.start(
                self.host.command(command) if self.host else command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.is_frozen = False

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[psutil.Process]:
        if not self.is_running or self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self.process.pid).children(recursive=True) if _is_worker(child)]
        return []

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(number)

    def terminate(self) -> None:
        """Asks it to end in its own time."""
        self.send(signal.SIGTERM)

    def kill_child(self) -> int | None:
        """Kills the worker process but not its supervisor. Returns its pid, or None if there is none now."""
        for child in self.children():
            with suppress(psutil.NoSuchProcess):
                child.kill()
                return child.pid
        return None

    def kill(self) -> None:
        """Ends it at once, as the loss of its host does; the kernel ends its children with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.is_frozen = False

    def freeze(self) -> None:
        """The supervisor and its child, or the replica: alive, connected and still."""
        self.is_frozen = True
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)
        self.is_frozen = False

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self.children():
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        self.send(number)


def _is_worker(process: psutil.Process) -> bool:
    # An encoder that ended while its worker was frozen is a zombie, and a zombie has no command line to ask for.
    with suppress(psutil.NoSuchProcess):
        # A process whose sabotage has started a thread forks no workers, but starts them.
        return process.name() == PROCESS_NAME or "phoenix.worker" in process.cmdline()
    return False


@dataclass
class Cluster:
    folder: Path
    postgres: PrivatePostgres
    redis: RedisServer
    proxies: dict[str, FaultyProxy]
    """`api-redis`, `api-postgres`, `worker-redis` and `worker-postgres`: who is cut off from what."""
    network: Network | None = None
    """If there is one, each worker has a host of its own on it."""
    apis: list[Member] = field(default_factory=list[Member])
    workers: list[Member] = field(default_factory=list[Member])
    owners: list[str] = field(default_factory=list[str])
    """API keys, of callers that may not see each other's jobs. None of them: auth is off."""
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=ANSWER_WITHIN_S))

    def __post_init__(self) -> None:
        # Kept open, because the tests wait by looking again and again. The loop is not the thread's current one, which
        # belongs to the tests.
        self._loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._database = Database(open_engine(self.postgres.async_url, DatabaseSettings()))

    @property
    def members(self) -> list[Member]:
        return [*self.apis, *self.workers]

    @property
    def store(self) -> Path:
        return self.folder / "artifacts"

    def url(self, number: int = 0) -> str:
        return f"http://127.0.0.1:{self.apis[number].arguments[-1]}"

    def add_api(self, **environment: str) -> Member:
        return self._add(self.apis, ["api", "--port", str(free_port())], "api", environment)

    def add_worker(self, queue: str = "gpu", *, processes: int = 1, **environment: str) -> Member:
        """A supervisor with so many processes, each with slots of its own."""
        arguments = ["worker", "--queue", queue, *["--device", "cpu"] * processes]
        return self._add(self.workers, arguments, "worker", environment)

    def add_fleet(self) -> None:
        """Two replicas that ask for keys, two workers for clips and one for media, ready to work, and two owners."""
        self.owners = [self.make_key(Scope.READ, Scope.WRITE) for _ in range(2)]
        self.http.headers["Authorization"] = f"Bearer {self.make_key(*Scope)}"
        for _ in range(2):
            self.add_api(PHOENIX_AUTH="required")
        for queue in ("gpu", "gpu", "media"):
            self.add_worker(queue)
        self.wait_until_ready()

    def _add(self, members: list[Member], arguments: list[str], side: str, extra: Mapping[str, str]) -> Member:
        """`SABOTAGE` in the environment takes safeties out of the process: see `sabotage`."""
        name = f"{arguments[0]}-{len(members)}"
        host = self.network.add_host() if self.network and side == "worker" else None
        member = Member(name, arguments, {**self._environment(side), **extra}, self.folder / f"{name}.log", host)
        members.append(member)
        member.start()
        return member

    def _environment(self, side: str) -> dict[str, str]:
        postgres, redis = self.proxies[f"{side}-postgres"].port, self.proxies[f"{side}-redis"].port
        address = proxy_address(self.network)
        return {
            **os.environ,
            **FAST,
            "PYTHONPATH": os.pathsep.join([SABOTAGE_FOLDER, *sys.path]),
            "PHOENIX_DATA_DIR": str(self.folder),
            "PHOENIX_AUTH": "off",
            "PHOENIX_DATABASE__URL": self.postgres.tcp_url(address, postgres),
            "PHOENIX_REDIS__URL": f"redis://{address}:{redis}/0",
            "PHOENIX_ANIMATIC__SECONDS_PER_STEP": "0.1",
            "PHOENIX_MEDIA__PRESET": "ultrafast",
            "PHOENIX_MEDIA__THREADS": "1",
            "PHOENIX_TTS__ENGINE": "espeak",
        }

    def wait_until_ready(self, slots: int | None = None) -> None:
        """Until each replica answers, and so many workers (all, if left out) have reported."""
        for number in range(len(self.apis)):
            wait_until(lambda number=number: self.answers(number), START_WITHIN_S)
        wait_until(lambda: self.count_ready() >= (slots or len(self.workers)), START_WITHIN_S)

    def count_ready(self) -> int:
        """The workers that have reported that they may claim."""
        workers: Any = self.get("/v1/workers")["data"]
        return sum(worker["state"] not in ("starting", "unfit") for worker in workers)

    def answers(self, number: int) -> bool:
        with suppress(httpx.HTTPError):
            return self.http.get(f"{self.url(number)}/v1/workers").is_success
        return False

    def ask(self, method: str, path: str, number: int = 0, **options: Any) -> httpx.Response:
        """The answer of a replica, which is asked again while it takes no request, or says that it could do nothing."""
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            with suppress(httpx.ConnectError):
                answers.append(self.http.request(method, self.url(number) + path, **options))
                return answers[-1].status_code != 503
            return False

        wait_until(is_answered, ANSWER_WITHIN_S)
        return answers[-1]

    def get(self, path: str, number: int = 0) -> dict[str, object]:
        return self.ask("GET", path, number).raise_for_status().json()

    def heal(self) -> None:
        """Mends all that was broken, and starts what has ended."""
        for proxy in self.proxies.values():
            proxy.heal()
        for host in self.network.hosts if self.network else ():
            host.plug_in()
        self.redis.resume()
        if not self.redis.is_running:
            self.redis.start()
        self.postgres.ensure_running()
        for member in self.members:
            if member.is_frozen:
                member.thaw()
            if not member.is_running:
                member.start()

    def flush_redis(self) -> None:
        with suppress(RedisError), Redis.from_url(self.redis.url, socket_timeout=1) as client:
            client.flushall()

    def history(self, accepted: frozenset[str]) -> History:
        return self._loop.run(read_history(self._database, accepted, self.store))

    def make_key(self, *scopes: Scope) -> str:
        return self._loop.run(self._make_key(scopes))

    async def _make_key(self, scopes: Sequence[Scope]) -> str:
        async with self._database.write() as uow:
            return await create_key(uow, "a caller", scopes)

    def submit(self, *prompts: str, **body: object) -> str:
        """A reel of tiny clips, by the first replica. Returns its job id."""
        clips = [{"prompt": prompt} for prompt in prompts or ("a balloon",)]
        once = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self.ask("POST", "/v1/reels", json={**TINY, "clips": clips, **body}, headers=once)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def story_of(self, job_id: str) -> JobStory:
        (story,) = build_stories(self._loop.run(read_history(self._database, frozenset(), job_id=job_id)))
        return story

    def wait_for(self, job_id: str, is_so: Callable[[JobStory], bool], within_s: float = 300) -> JobStory:
        stories: list[JobStory] = []

        def ask() -> bool:
            stories.append(self.story_of(job_id))
            return is_so(stories[-1])

        wait_until(ask, within_s)
        return stories[-1]

    def holder(self, worker_id: str | None) -> Member:
        """The supervisor of this worker process."""
        pid = self._loop.run(self._pid_of(worker_id))
        return next(member for member in self.workers if any(child.pid == pid for child in member.children()))

    async def _pid_of(self, worker_id: str | None) -> int | None:
        async with self._database.read() as session:
            return await session.scalar(select(col(WorkerRow.pid)).where(col(WorkerRow.id) == worker_id))

    def wait_until_all_ended(self, within_s: float, meanwhile: Callable[[], None] = lambda: None) -> float:
        """Until every job has ended; returns the seconds that took. It may not get there: the checker will say so."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < within_s:
            if self._loop.run(have_all_ended(self._database)):
                break
            self.heal()
            meanwhile()
            time.sleep(0.1)
        return time.monotonic() - began_s

    def close(self) -> None:
        for member in self.members:
            member.kill()
        for proxy in self.proxies.values():
            proxy.close()
        self.http.close()
        self._loop.run(self._database.close())
        self._loop.close()


@contextmanager
def run_cluster(folder: Path, network: Network | None = None) -> Generator[Cluster]:
    """The servers and the proxies; replicas and workers are added by the test. Logs are `*.log` in the folder."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PrivatePostgres.running())
        redis = RedisServer(folder)
        stack.callback(redis.kill)
        redis.start()
        proxies = {
            f"{side}-{server}": FaultyProxy(connect, proxy_address(network))
            for side in ("api", "worker")
            for server, connect in (("postgres", postgres.connect), ("redis", redis.connect))
        }
        cluster = Cluster(folder, postgres, redis, proxies, network)
        stack.callback(cluster.close)
        yield cluster


def proxy_address(network: Network | None) -> str:
    return ADDRESS if network else "127.0.0.1"


def wait_until(is_so: Callable[[], bool], within_s: float) -> float:
    """Returns the seconds that it took. Raises `AssertionError` if it did not come to pass."""
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < within_s, f"it did not come to pass within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - began_s
