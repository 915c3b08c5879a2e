"""The commands of operators against a server: what they send, what they print, and the status they end with."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fixtures.event_examples import JOB_ID, a_job
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.cli.app import app
from phoenix.contract import JobPage, JobState, WaitingCode, WaitingReason, Worker, WorkerList
from phoenix.contract.steering import (
    AuditEntry,
    AuditPage,
    BulkAction,
    BulkFailure,
    BulkJob,
    BulkResult,
    KeyShare,
    ModelUnload,
    QueuedJob,
    QueuedJobList,
)

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def run(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_URL", scripted_server.url)

    def run_phoenix(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=typed)

    return run_phoenix


def answer(body: Any, status: int = 200) -> Answer:
    return Answer(status, body.model_dump_json().encode())


def a_worker(**changes: Any) -> Worker:
    fields = {"id": "wrk_1", "device": "cpu", "queues": ["gpu"], "slots": 1, "models": ["wan"], "running": []}
    return Worker.model_validate({**fields, "started_at": NOW, "seen_at": NOW, **changes})


def a_result(*jobs: str, **changes: Any) -> BulkResult:
    made = [BulkJob(id=job_id, owner_id="key_b", state=JobState.QUEUED) for job_id in jobs]
    fields = {"matched": len(jobs), "changed": 0, "total": len(jobs), "failed": [], "has_more": False}
    fields |= {"next_cursor": None, "dry_run": True}
    return BulkResult.model_validate({"action": BulkAction.CANCEL, "jobs": made, **fields, **changes})


def test_the_jobs_of_a_queue_are_listed_with_their_reasons(run, scripted_server: ScriptedServer):
    reason = WaitingReason(code=WaitingCode.PAUSED, detail="New drivers.")
    fields = {"state": "queued", "model": "wan", "priority": "high", "tasks": 3, "eta_s": 90, "queued_at": NOW}
    job = QueuedJob.model_validate(
        {"job_id": JOB_ID, "owner_id": "key_b", "moved_to_front": True, "waiting_reason": reason, **fields}
    )
    scripted_server.on("GET", "/v1/queues/gpu/jobs", answer(QueuedJobList(data=[job], has_more=True)))

    listed = run("queues", "next", "gpu", "--limit", "1")

    assert listed.exit_code == 0
    assert scripted_server.received[0].query == "limit=1"
    for words in (JOB_ID, "key_b", "New", "drivers.", "More jobs wait behind them."):
        assert words in listed.output


@pytest.mark.parametrize("action", ["cancel", "retry", "show"])
def test_an_administrator_names_whose_job_it_is(run, scripted_server: ScriptedServer, action: str):
    method, path = ("GET", "") if action == "show" else ("POST", f"/{action}")
    scripted_server.on(method, f"/v1/jobs/{JOB_ID}{path}", answer(a_job(), 202))

    assert run("jobs", action, JOB_ID, "--owner", "all").exit_code == 0
    assert scripted_server.received[0].query == "owner=all"


def test_the_owner_may_stand_in_the_environment(run, scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_OWNER", "all")
    job = a_job().model_copy(update={"owner_id": "key_b", "words_hidden": True})
    scripted_server.on("GET", "/v1/jobs", answer(JobPage(data=[job], has_more=False)))

    assert "key_b" in run("jobs", "list").stdout


def test_a_job_is_moved_to_the_front(run, scripted_server: ScriptedServer):
    scripted_server.on("PATCH", f"/v1/jobs/{JOB_ID}", answer(a_job()))

    run("jobs", "change", JOB_ID, "--to-front")

    assert json.loads(scripted_server.received[0].body) == {"position": "front"}


def test_a_drain_waits_until_nothing_runs(run, scripted_server: ScriptedServer):
    scripted_server.on("POST", "/v1/workers/wrk_1/drain", Answer(204, b""))
    states = [answer(WorkerList(data=[a_worker(state=state)])) for state in ("draining", "drained")]
    scripted_server.on("GET", "/v1/workers", *states)

    result = run("workers", "drain", "wrk_1", "--wait", "60")

    assert (result.exit_code, result.stdout) == (0, "wrk_1 is drained.\n")


def test_the_list_of_workers_shows_states_and_what_is_unloaded(run, scripted_server: ScriptedServer):
    worker = a_worker(state="draining", unloading=["wan"])
    scripted_server.on("GET", "/v1/workers", answer(WorkerList(data=[worker])))

    line = run("workers", "list").stdout.splitlines()[1]

    assert ("draining" in line, "wan (unloading)" in line) == (True, True)


@pytest.mark.parametrize(
    ("workers", "said"), [(["wrk_1"], "wrk_1 drops wan.\n"), ([], "No worker has it in memory.\n")]
)
def test_an_unload_names_the_workers(run, scripted_server: ScriptedServer, workers: list[str], said: str):
    scripted_server.on("POST", "/v1/models/wan/unload", answer(ModelUnload(model="wan", workers=workers), 202))

    assert run("models", "unload", "wan").stdout == said


def test_a_bulk_action_shows_a_preview_asks_and_goes_on_until_nothing_is_left(run, scripted_server: ScriptedServer):
    failed = [BulkFailure(id="job_3", code="JOB_ENDED", detail="The job is succeeded already.")]
    scripted_server.on(
        "POST",
        "/v1/jobs/bulk",
        answer(a_result("job_1", "job_2", total=3), 202),
        answer(a_result("job_1", changed=1, has_more=True, next_cursor="abc", dry_run=False), 202),
        answer(a_result("job_2", changed=1, failed=failed, dry_run=False), 202),
    )

    result = run("bulk", "cancel", "--state", "queued", "--owner", "all", typed="y\n")

    sent = [json.loads(each.body) for each in scripted_server.received]
    wanted = {"action": "cancel", "filter": {"state": "queued"}}
    assert sent == [{**wanted, "dry_run": True}, wanted, {**wanted, "cursor": "abc"}]
    assert "3 jobs match." in result.stderr
    assert "job_3: JOB_ENDED" in result.stderr
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "2 jobs are canceled, 1 are not.")


def test_nothing_is_done_without_a_yes(run, scripted_server: ScriptedServer):
    scripted_server.on("POST", "/v1/jobs/bulk", answer(a_result("job_1"), 202))

    assert run("bulk", "delete", "--all", typed="n\n").exit_code == 1
    assert len(scripted_server.received) == 1


@pytest.mark.parametrize("arguments", [(), ("job_1", "--all"), ("--state", "failed", "--all")])
def test_a_bulk_action_needs_ids_or_filters_or_all(run, arguments: tuple[str, ...]):
    assert run("bulk", "cancel", *arguments).exit_code == 2


def test_the_audit_log_has_a_line_per_act(run, scripted_server: ScriptedServer):
    fields = {"account": None, "address": "192.0.2.7", "owner": "key_b", "details": {}, "request_id": None}
    entry = AuditEntry(
        id="act_1", at=NOW, actor="key_a", action="job.cancel", target="job_1", outcome="JOB_ENDED", **fields
    )
    scripted_server.on("GET", "/v1/audit", answer(AuditPage(data=[entry], has_more=False)))

    line = run("audit", "--target", "job_1").stdout.splitlines()[1]

    assert [text in line for text in ("key_a", "job.cancel", "job_1")] == [True] * 3


def test_a_share_names_only_what_is_given(run, scripted_server: ScriptedServer):
    made = KeyShare(key_id="key_b", weight=2, max_running_clips=None, max_running_clips_per_model=1)
    scripted_server.on("PUT", "/v1/keys/key_b/share", answer(made))

    shown = run("shares", "set", "key_b", "--weight", "2", "--max-running-per-model", "1").stdout

    assert json.loads(scripted_server.received[0].body) == {"weight": 2.0, "max_running_clips_per_model": 1}
    assert shown.splitlines()[1].split() == ["key_b", "2.00", "as", "set", "1"]
