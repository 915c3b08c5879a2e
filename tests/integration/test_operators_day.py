"""An operator's day by command on a fleet: each trouble is an alert, a reason of a job, and a figure of the statistics.

Two replicas, four workers, PostgreSQL and Redis. The alerts are the rules of deploy/kubernetes, over scrapes of both
replicas. Their `for` is left out.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from faults.cluster import LONG_LEASE, Cluster, run_cluster, wait_until
from fixtures.kubernetes import KUBERNETES
from fixtures.promql import Labels, Series, evaluate
from phoenix.cli.app import app

RULES = KUBERNETES / "components" / "prometheus" / "alerts.yaml"
WITHIN_S = 300.0
BURST = 11
"""Jobs of a burst: one more than the number of waiting tasks that the rule of a backlog accepts."""


class Day:
    """The fleet as its operator sees it: by commands against the replicas in turn, and by the scrapes of Prometheus."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._commands = 0
        self._samples: dict[tuple[str, Labels], list[float]] = {}
        (group,) = yaml.safe_load(RULES.read_text())["spec"]["groups"]
        self._rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}

    def run(self, *arguments: str) -> str:
        """What the command prints."""
        self._commands += 1
        url = self.cluster.url(self._commands % len(self.cluster.apis))
        done = CliRunner().invoke(app, arguments, env={"PHOENIX_URL": url})
        assert done.exit_code == 0, done.output
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def submit_to(self, model: str) -> str:
        """A reel of one clip as the model makes it by default. Returns its job id."""
        body = {"model": model, "clips": [{"prompt": "a balloon"}]}
        answer = self.cluster.http.post(f"{self.cluster.url()}/v1/reels", json=body)
        return answer.raise_for_status().json()["id"]

    def scrape(self) -> None:
        """Adds a sample to each series. A series that is not there any more has ended."""
        found: dict[tuple[str, Labels], float] = {}
        for number in range(len(self.cluster.apis)):
            answer = self.cluster.http.get(f"{self.cluster.url(number)}/metrics").raise_for_status()
            for family in text_string_to_metric_families(answer.text):
                for sample in family.samples:
                    labels = frozenset({**sample.labels, "instance": str(number)}.items())
                    found[sample.name, labels] = sample.value
        self._samples = {key: [*self._samples.get(key, []), value] for key, value in found.items()}

    def fires(self, alert: str, **labels: str) -> bool:
        """Whether the alert fires now for these labels."""
        self.scrape()
        series = [Series(name, dict(labels), values) for (name, labels), values in self._samples.items()]
        return any(labels.items() <= dict(found).items() for found in evaluate(self._rules[alert], series))

    def wait_for_alert(self, alert: str, **labels: str) -> None:
        wait_until(lambda: self.fires(alert, **labels), WITHIN_S)

    def wait_for_reason(self, job_id: str, code: str) -> str:
        """Returns what the job says of the wait."""

        def reason() -> dict[str, str]:
            return self.ask("jobs", "show", job_id)["waiting_reason"] or {}

        wait_until(lambda: reason().get("code") == code, WITHIN_S)
        return reason()["detail"]

    def wait_for_state(self, job_id: str, state: str) -> None:
        wait_until(lambda: self.ask("jobs", "show", job_id)["state"] == state, WITHIN_S)

    def figures(self, group: str | None = None) -> dict[str, Any]:
        """The totals of the last day, of a queue or of everything."""
        by = () if group is None else ("--by", "queue")
        return {each["group"]: each["total"] for each in self.ask("stats", *by)["series"]}.get(group, {})


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with run_cluster(tmp_path_factory.mktemp("day")) as cluster:
        for _ in range(2):
            cluster.add_api(**LONG_LEASE)
        for queue in ("gpu", "gpu", "gpu", "media"):
            cluster.add_worker(queue, SABOTAGE="poison", **LONG_LEASE)
        cluster.wait_until_ready()
        day = Day(cluster)
        day.scrape()
        yield day


def test_a_model_that_nobody_serves_is_seen(day: Day) -> None:
    before = day.figures()["jobs"].get("canceled", 0)
    job_id = day.submit_to("ltx-video")

    assert "`phoenix worker --queue gpu`" in day.wait_for_reason(job_id, "NO_WORKER_FOR_MODEL")
    day.wait_for_alert("PhoenixTasksHaveNoWorker", queue="gpu", model="ltx-video")
    day.run("jobs", "cancel", job_id)
    wait_until(lambda: not day.fires("PhoenixTasksHaveNoWorker"), WITHIN_S)
    wait_until(lambda: day.figures()["jobs"].get("canceled", 0) == before + 1, WITHIN_S)


def test_a_paused_queue_is_seen_and_its_jobs_run_after_it(day: Day) -> None:
    day.run("queues", "pause", "gpu", "--reason", "new drivers at noon")
    job_id = day.cluster.submit("after the pause")

    assert "new drivers at noon" in day.wait_for_reason(job_id, "PAUSED")
    day.wait_for_alert("PhoenixPauseIsForgotten", kind="queue", name="gpu")
    day.run("queues", "resume", "gpu")
    day.wait_for_state(job_id, "succeeded")
    assert not day.fires("PhoenixPauseIsForgotten")
    wait_until(lambda: day.figures("gpu").get("wait_s") is not None, WITHIN_S)


def test_a_drained_worker_is_seen_and_its_jobs_run_when_it_is_resumed(day: Day) -> None:
    (worker,) = [each["id"] for each in day.ask("workers", "list") if each["queues"] == ["media"]]
    day.run("workers", "drain", worker)
    job_id = day.cluster.submit("to be joined later")

    assert "`phoenix workers resume`" in day.wait_for_reason(job_id, "NO_WORKER_FOR_QUEUE")
    day.wait_for_alert("PhoenixTasksHaveNoWorker", queue="media")
    day.run("workers", "resume", worker)
    day.wait_for_state(job_id, "succeeded")
    wait_until(lambda: day.figures("media").get("attempts", {}).get("succeeded", 0) >= 1, WITHIN_S)


def test_a_job_that_kills_its_workers_is_seen_and_costs_no_other_job(day: Day) -> None:
    job_id = day.cluster.submit("poison")
    other = day.cluster.submit("an innocent clip")

    day.wait_for_state(job_id, "failed")
    attempts = day.ask("jobs", "attempts", job_id)
    assert [each["state"] for each in attempts if each["task"] == "render"] == ["crashed"] * 3
    day.wait_for_alert("PhoenixJobsFail")
    day.wait_for_state(other, "succeeded")
    wait_until(lambda: day.figures()["job_codes"].get("WORKER_LOST") == 1, WITHIN_S)


def test_a_burst_is_seen_and_canceled_at_once(day: Day) -> None:
    before = day.figures()["jobs"].get("canceled", 0)
    day.run("queues", "pause", "gpu", "--reason", "a burst")
    for _ in range(BURST):
        day.cluster.submit("one of many")

    day.wait_for_alert("PhoenixBacklogRises", queue="gpu")
    wait_until(lambda: (day.figures("gpu").get("waiting_max") or 0) >= BURST, WITHIN_S)
    day.run("bulk", "cancel", "--state", "queued", "--yes")
    day.run("queues", "resume", "gpu")
    wait_until(lambda: day.figures()["jobs"].get("canceled", 0) == before + BURST, WITHIN_S)
