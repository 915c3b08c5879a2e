"""An operator's day by command: each trouble is an alert, a reason of a job, and a figure of the statistics.

`tests/e2e/test_operators_day_in_the_console.py` is the same day in a browser.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from faults.cluster import Cluster, wait_until
from fixtures.later_version import LATER_MODEL
from fixtures.operators_day import BURST, WITHIN_S, Day, running_fleet
from phoenix.cli.app import app


class DayByCommand(Day):
    """The fleet as its operator sees it: by commands against the replicas in turn."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._commands = 0

    def run(self, *arguments: str, **environment: str) -> str:
        """What the command prints, on both outputs if it reads no JSON."""
        self._commands += 1
        url = self.cluster.url(self._commands % len(self.cluster.apis))
        done = CliRunner().invoke(app, arguments, env={"PHOENIX_URL": url, **environment})
        assert done.exit_code == 0, done.output
        return done.stdout if "--json" in arguments else done.output

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

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
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DayByCommand]:
    with running_fleet(tmp_path_factory.mktemp("day")) as cluster:
        day = DayByCommand(cluster)
        day.scrape()
        yield day


def test_a_model_that_nobody_serves_is_seen(day: DayByCommand) -> None:
    before = day.figures()["jobs"].get("canceled", 0)
    job_id = day.submit_to("ltx-video")

    assert "`phoenix worker --queue gpu`" in day.wait_for_reason(job_id, "NO_WORKER_FOR_MODEL")
    day.wait_for_alert("PhoenixTasksHaveNoWorker", queue="gpu", model="ltx-video")
    day.run("jobs", "cancel", job_id)
    wait_until(lambda: not day.fires("PhoenixTasksHaveNoWorker"), WITHIN_S)
    wait_until(lambda: day.figures()["jobs"].get("canceled", 0) == before + 1, WITHIN_S)


def test_a_paused_queue_is_seen_and_its_jobs_run_after_it(day: DayByCommand) -> None:
    day.run("queues", "pause", "gpu", "--reason", "new drivers at noon")
    job_id = day.cluster.submit("after the pause")

    assert "new drivers at noon" in day.wait_for_reason(job_id, "PAUSED")
    day.wait_for_alert("PhoenixPauseIsForgotten", kind="queue", name="gpu")
    day.run("queues", "resume", "gpu")
    day.wait_for_state(job_id, "succeeded")
    assert not day.fires("PhoenixPauseIsForgotten")
    wait_until(lambda: day.figures("gpu").get("wait_s") is not None, WITHIN_S)


def test_a_drained_worker_is_seen_and_its_jobs_run_when_it_is_resumed(day: DayByCommand) -> None:
    (worker,) = [each["id"] for each in day.ask("workers", "list") if each["queues"] == ["media"]]
    day.run("workers", "drain", worker)
    job_id = day.cluster.submit("to be joined later")

    assert "`phoenix workers resume`" in day.wait_for_reason(job_id, "NO_WORKER_FOR_QUEUE")
    day.wait_for_alert("PhoenixTasksHaveNoWorker", queue="media")
    day.run("workers", "resume", worker)
    day.wait_for_state(job_id, "succeeded")
    wait_until(lambda: day.figures("media").get("attempts", {}).get("succeeded", 0) >= 1, WITHIN_S)


def test_a_job_that_kills_its_workers_is_seen_and_costs_no_other_job(day: DayByCommand) -> None:
    job_id = day.cluster.submit("poison")
    other = day.cluster.submit("an innocent clip")

    day.wait_for_state(job_id, "failed")
    attempts = day.ask("jobs", "attempts", job_id)
    assert [each["state"] for each in attempts if each["task"] == "render"] == ["crashed"] * 3
    day.wait_for_alert("PhoenixJobsFail")
    day.wait_for_state(other, "succeeded")
    wait_until(lambda: day.figures()["job_codes"].get("WORKER_LOST") == 1, WITHIN_S)


def test_a_burst_is_seen_and_canceled_at_once(day: DayByCommand) -> None:
    before = day.figures()["jobs"].get("canceled", 0)
    day.run("queues", "pause", "gpu", "--reason", "a burst")
    for _ in range(BURST):
        day.cluster.submit("one of many")

    day.wait_for_alert("PhoenixBacklogRises", queue="gpu")
    wait_until(lambda: (day.figures("gpu").get("waiting_max") or 0) >= BURST, WITHIN_S)
    day.run("bulk", "cancel", "--state", "queued", "--yes")
    day.run("queues", "resume", "gpu")
    wait_until(lambda: day.figures()["jobs"].get("canceled", 0) == before + BURST, WITHIN_S)


def test_an_upgrade_that_is_rolled_back_is_seen_and_costs_no_job(day: DayByCommand, tmp_path: Path) -> None:
    before = day.figures()["jobs"].get("canceled", 0)
    with day.upgraded(tmp_path):
        ours = day.cluster.submit("of both versions")
        theirs = day.submit_to(LATER_MODEL, replica=-1)

    database = {"PHOENIX_DATABASE__URL": day.cluster.postgres.url.render_as_string(hide_password=False)}
    assert "A newer version of Phoenix has migrated" in day.run("db", "upgrade", **database)
    assert LATER_MODEL in day.wait_for_reason(theirs, "NO_WORKER_FOR_MODEL")
    day.wait_for_alert("PhoenixTasksHaveNoWorker", queue="gpu", model=LATER_MODEL)
    day.wait_for_state(ours, "succeeded")
    day.run("jobs", "cancel", theirs)
    wait_until(lambda: day.figures()["jobs"].get("canceled", 0) == before + 1, WITHIN_S)
