"""What a client of a real stream receives while the processes behind it are killed. See docs/reliability.md."""

import itertools
import threading
from collections.abc import Iterator

import httpx
import pytest

from faults.checker import JobStory
from faults.cluster import FAST, LONG_LEASE, Cluster, run_cluster, wait_until
from fixtures.event_streams import Frame
from fixtures.stream_fleet import Seen

STEPS = 40
"""Of a clip that takes four seconds: time for a busy machine to break something before its end."""
_PACES = {**FAST, **LONG_LEASE}
LOST_HOST_BOUND_S = 10 * (
    float(_PACES["PHOENIX_SCHEDULER__LEASE_S"]) + float(_PACES["PHOENIX_SCHEDULER__REAP_INTERVAL_S"])
)
"""Lease and sweep, as documented, on a machine that does much else at the same time."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("streams")) as cluster:
        for _ in range(2):
            cluster.add_api(PHOENIX_EVENTS__HEARTBEAT_S="1", PHOENIX_EVENTS__RETRY_MS="200")
        for queue in ("gpu", "gpu", "media"):
            cluster.add_worker(queue, SABOTAGE="poison", **LONG_LEASE)
        cluster.wait_until_ready()
        yield cluster


class Client(threading.Thread):
    """Follows a job as an EventSource does: whenever its stream breaks off it resumes, here at the next replica."""

    def __init__(self, cluster: Cluster, job_id: str) -> None:
        super().__init__(daemon=True)
        self.seen = Seen()
        self.job_id = job_id
        self._replicas = itertools.cycle([cluster.url(0), cluster.url(1)])
        self._patience_left = 200
        self.start()

    def run(self) -> None:
        while self.job_id not in self.seen.ended and self._patience_left:
            self._patience_left -= 1
            try:
                self._connect(next(self._replicas))
            except httpx.HTTPError:
                threading.Event().wait(0.1)

    def _connect(self, replica: str) -> None:
        headers = {"Last-Event-ID": self.seen.last_id or "0"}
        url = f"{replica}/v1/jobs/{self.job_id}/events"
        with httpx.stream("GET", url, headers=headers, timeout=10, trust_env=False) as answer:
            lines: list[str] = []
            for line in answer.iter_lines():
                lines.append(line)
                if not line:
                    self.seen.record(Frame.parse("\n".join(lines[:-1])))
                    lines = []

    def frames_of(self, name: str) -> list[Frame]:
        return [frame for frame in self.seen.frames if frame.event == name]

    def wait_for(self, name: str, count: int = 1, within_s: float = 300) -> None:
        wait_until(lambda: len(self.frames_of(name)) >= count, within_s)

    def clip_events(self) -> list[tuple[str, int]]:
        """Name and attempt of every durable event of a clip."""
        return [
            (frame.event, frame.data["attempt"])
            for frame in self.seen.frames
            if frame.event and frame.event.startswith("clip.") and frame.id
        ]

    def assert_whole(self, last: str) -> None:
        """Every durable event once and in order, up to the end; progress never went back."""
        self.join(100)
        numbers = self.seen.seqs[self.job_id]
        assert numbers == list(range(1, len(numbers) + 1))
        assert self.seen.last_event.event == last
        assert self.seen.went_back == []


TWO_ATTEMPTS = [("clip.started", 1), ("clip.retrying", 1), ("clip.started", 2), ("clip.succeeded", 2)]


def worker_of(story: JobStory, attempt: int = 1) -> str:
    return story.tasks[0].attempts[attempt - 1].worker_id


def test_the_stream_of_a_killed_worker_process_shows_its_second_attempt_and_its_end(cluster: Cluster) -> None:
    job_id = cluster.submit(steps=STEPS)
    client = Client(cluster, job_id)
    client.wait_for("clip.progress", 3)

    cluster.holder(worker_of(cluster.story_of(job_id))).kill_child()

    client.assert_whole(last="job.succeeded")
    assert client.clip_events() == TWO_ATTEMPTS
    assert {frame.data["attempt"] for frame in client.frames_of("clip.progress")} == {1, 2}


def test_the_stream_of_a_lost_host_goes_on_within_its_lease_and_one_run_of_the_lease_reaper(cluster: Cluster) -> None:
    job_id = cluster.submit(steps=STEPS)
    client = Client(cluster, job_id)
    client.wait_for("clip.progress", 3)

    cluster.holder(worker_of(cluster.story_of(job_id))).kill()
    client.wait_for("clip.retrying", within_s=LOST_HOST_BOUND_S)

    client.assert_whole(last="job.succeeded")
    assert client.clip_events() == TWO_ATTEMPTS


def test_the_stream_of_a_clip_that_kills_its_workers_ends_with_their_loss(cluster: Cluster) -> None:
    client = Client(cluster, cluster.submit("poison"))

    client.assert_whole(last="job.failed")
    assert client.seen.last_event.data["error"]["code"] == "WORKER_LOST"
    assert client.clip_events()[-1] == ("clip.failed", 3)


def test_a_killed_replica_s_streams_go_on_at_the_other_while_workers_render(cluster: Cluster) -> None:
    clients = [Client(cluster, cluster.submit("one", "two", steps=STEPS)) for _ in range(2)]
    for client in clients:
        client.wait_for("clip.progress", 3)

    cluster.apis[0].kill()

    for client in clients:
        client.assert_whole(last="job.succeeded")
        assert {attempt for _, attempt in client.clip_events()} == {1}
