"""The client commands against a server: what they print, and the status they end with."""

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner, Result

from fixtures import child_processes
from fixtures.event_examples import ERROR, JOB_ID, a_clip, a_job, job_canceled
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.cli.app import app
from phoenix.contract import (
    Job,
    JobOutput,
    JobPage,
    JobState,
    Pause,
    PauseKind,
    PauseList,
    QueueDepth,
    QueueView,
)

JOB = f"/v1/jobs/{JOB_ID}"


@pytest.fixture
def run(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_URL", scripted_server.url)
    monkeypatch.setenv("PHOENIX_API_KEY", "secret")

    def run_phoenix(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run_phoenix


def answer(job: Job | JobPage, status: int = 200) -> Answer:
    return Answer(status, job.model_dump_json().encode())


def test_a_list_shows_each_job_on_a_line(run, scripted_server: ScriptedServer):
    scripted_server.on("GET", "/v1/jobs", answer(JobPage(data=[a_job(clips=[a_clip()])], has_more=False)))
    result = run("jobs", "list", "--state", "running")
    assert result.exit_code == 0
    assert JOB_ID in result.stdout
    assert scripted_server.received[0].headers["authorization"] == "Bearer secret"


def test_where_there_is_more_the_cursor_is_shown(run, scripted_server: ScriptedServer):
    scripted_server.on("GET", "/v1/jobs", answer(JobPage(data=[a_job()], has_more=True, next_cursor="abc")))
    assert "--cursor abc" in run("jobs", "list").stderr


def test_json_is_the_answer_of_the_api(run, scripted_server: ScriptedServer):
    scripted_server.on("GET", JOB, answer(a_job()))
    assert json.loads(run("jobs", "show", JOB_ID, "--json").stdout) == a_job().model_dump(mode="json")


def test_a_job_is_shown_with_its_clips_and_its_error(run, scripted_server: ScriptedServer):
    failed = a_job(state=JobState.FAILED, clips=[a_clip()]).model_copy(update={"error": ERROR})
    scripted_server.on("GET", JOB, answer(failed))
    shown = run("jobs", "show", JOB_ID).stdout
    assert "GPU_OOM (denoise): no memory" in shown
    assert "0/10" in shown
    assert shown.splitlines()[-1].startswith("1 ")


def test_a_watch_ends_with_status_1_for_a_job_that_did_not_succeed(run, scripted_server: ScriptedServer):
    frame = f"id: 2\ndata: {job_canceled(2).model_dump_json()}\n\n"
    scripted_server.on("GET", f"{JOB}/events", Answer(200, frame.encode(), {"content-type": "text/event-stream"}))
    canceled = answer(a_job(state=JobState.CANCELED))
    scripted_server.on("GET", JOB, canceled, canceled)
    result = run("jobs", "watch", JOB_ID)
    assert result.exit_code == 1
    assert "canceled" in result.stderr


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_a_job_can_be_steered(run, scripted_server: ScriptedServer, action: str):
    scripted_server.on("POST", f"{JOB}/{action}", answer(a_job(), 202))
    assert JOB_ID in run("jobs", action, JOB_ID).stdout


def test_a_video_is_downloaded_to_the_file_that_is_named(run, scripted_server: ScriptedServer, tmp_path: Path):
    size = {"width": 1, "height": 1, "fps": 1, "duration_s": 1, "size_bytes": 5}
    output = JobOutput(artifact_id="art_1", url=f"{JOB}/content", sha256=hashlib.sha256(b"movie").hexdigest(), **size)
    scripted_server.on("GET", JOB, answer(a_job(state=JobState.SUCCEEDED).model_copy(update={"output": output})))
    scripted_server.on("GET", f"{JOB}/content", Answer(200, b"movie"))
    result = run("jobs", "download", JOB_ID, "-o", str(tmp_path / "reel.mp4"))
    assert result.stdout.splitlines() == [str(tmp_path / "reel.mp4")]
    assert (tmp_path / "reel.mp4").read_bytes() == b"movie"


def test_a_job_without_a_video_has_nothing_to_download(run, scripted_server: ScriptedServer, tmp_path: Path):
    scripted_server.on("GET", JOB, answer(a_job()))
    result = run("jobs", "download", JOB_ID, "-o", str(tmp_path / "reel.mp4"))
    assert (result.exit_code, "has no output" in result.stderr) == (1, True)


def test_a_job_can_be_deleted(run, scripted_server: ScriptedServer):
    scripted_server.on("DELETE", JOB, Answer(204))
    assert "is deleted" in run("jobs", "delete", JOB_ID).stdout


def test_a_problem_is_shown_with_status_1(run, scripted_server: ScriptedServer):
    scripted_server.on("GET", JOB, Answer(404))
    result = run("jobs", "show", JOB_ID)
    assert result.exit_code == 1
    assert "HTTP_404" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("models",),
        ("generate", "x"),
        ("jobs", "list"),
        *(("jobs", action, JOB_ID) for action in ("show", "watch", "cancel", "retry", "download", "delete")),
    ],
    ids=" ".join,
)
def test_without_a_server_it_says_at_once_how_to_start_one(run, command: tuple[str, ...]):
    result = run(*command, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "phoenix up" in result.stderr


def test_the_command_starts_without_what_takes_long_to_import():
    code = (
        "import sys, phoenix.cli; print([name for name in ('torch', 'sqlalchemy', 'fastapi') if name in sys.modules])"
    )
    output = child_processes.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"


GPU_IS_PAUSED = Pause(
    kind=PauseKind.QUEUE, name="gpu", reason="new drivers", paused_at=datetime(2026, 1, 1, tzinfo=UTC), paused_by="key"
)


def test_a_queue_is_paused_with_a_reason(run, scripted_server: ScriptedServer):
    scripted_server.on("POST", "/v1/queues/gpu/pause", Answer(200, GPU_IS_PAUSED.model_dump_json().encode()))
    result = run("queues", "pause", "gpu", "--reason", "new drivers")
    assert result.stdout == "The queue gpu is paused.\n"
    assert json.loads(scripted_server.received[0].body) == {"reason": "new drivers"}


@pytest.mark.parametrize(("option", "path"), [("--model", "/v1/models/wan/resume"), ("--key", "/v1/keys/wan/resume")])
def test_models_and_keys_are_resumed_too(run, scripted_server: ScriptedServer, option: str, path: str):
    scripted_server.on("POST", path, Answer(204, b""))
    assert run("queues", "resume", option, "wan").stdout == f"The {option[2:]} wan is resumed.\n"


@pytest.mark.parametrize("arguments", [(), ("gpu", "--model", "wan")])
def test_one_thing_at_a_time_is_paused(run, arguments: tuple[str, ...]):
    result = run("queues", "pause", *arguments)
    assert result.exit_code == 2
    assert "give either a queue, --model or --key" in result.stderr


def test_the_list_of_queues_says_what_is_paused(run, scripted_server: ScriptedServer):
    depths = [QueueDepth(name="gpu", waiting=3, running=1, slots=2, oldest_wait_s=61)]
    view = QueueView(jobs_queued=3, jobs_running=1, queues=depths)
    scripted_server.on("GET", "/v1/queue", Answer(200, view.model_dump_json().encode()))
    scripted_server.on("GET", "/v1/pauses", Answer(200, PauseList(data=[GPU_IS_PAUSED]).model_dump_json().encode()))
    lines = [line.split() for line in run("queues", "list").stdout.splitlines()]
    assert lines[:2] == [["queue", "waits", "runs", "slots", "oldest"], ["gpu", "3", "1", "2", "1:01"]]
    assert " ".join(lines[2]) == "The queue gpu is paused: new drivers."


def test_a_change_names_only_what_is_given(run, scripted_server: ScriptedServer):
    scripted_server.on("PATCH", JOB, answer(a_job().model_copy(update={"title": "Harbour", "favorite": True})))
    shown = run("jobs", "change", JOB_ID, "--title", "Harbour", "--tag", "sea", "--tag", "dawn", "--favorite")
    assert "title     Harbour (favorite)" in shown.stdout
    body = json.loads(scripted_server.received[0].body)
    assert body == {"title": "Harbour", "tags": ["sea", "dawn"], "favorite": True}


def test_an_empty_tag_removes_all_tags(run, scripted_server: ScriptedServer):
    scripted_server.on("PATCH", JOB, answer(a_job()))
    run("jobs", "change", JOB_ID, "--tag", "")
    assert json.loads(scripted_server.received[0].body) == {"tags": []}


def test_a_change_of_nothing_is_refused(run, scripted_server: ScriptedServer):
    result = run("jobs", "change", JOB_ID)
    assert (result.exit_code, scripted_server.received) == (2, [])
    assert "Say what to change" in result.stderr


def test_a_search_asks_for_words_phrases_tags_and_metadata(run, scripted_server: ScriptedServer):
    scripted_server.on("GET", "/v1/jobs", answer(JobPage(data=[a_job()], has_more=False)))
    options = ("--tag", "sea", "--tag", "dawn", "--favorite", "--metadata", "customer=a=b", "--state", "succeeded")
    assert JOB_ID in run("search", "red balloon", "harbour", *options).stdout
    asked = parse_qs(scripted_server.received[0].query)
    assert asked == {
        "q": ['"red balloon" harbour'],
        "tag": ["sea", "dawn"],
        "favorite": ["true"],
        "metadata.customer": ["a=b"],
        "state": ["succeeded"],
        "limit": ["20"],
    }


@pytest.mark.parametrize("options", [(), ("--metadata", "customer"), ("--metadata", "=x")])
def test_a_search_that_says_nothing_is_refused(run, scripted_server: ScriptedServer, options: tuple[str, ...]):
    assert (run("search", *options).exit_code, scripted_server.received) == (2, [])
