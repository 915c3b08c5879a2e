"""A supervisor and the worker processes that it starts: killed, drained and started again."""

import asyncio
import io
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
from sqlalchemy import delete
from sqlalchemy.engine import URL
from sqlmodel import col

from builders import claim_next
from fixtures import child_processes
from fixtures.log_lines import lines_about
from fixtures.supervision import supervised, until_live
from fixtures.workplace import OpenHarness, a_reel, slowed
from phoenix.child_processes.fork_server import ForkServer
from phoenix.contract import JobState
from phoenix.jobs.execution.retries import RetryRule
from phoenix.jobs.lifecycle import AttemptEndState, TaskState
from phoenix.jobs.tables import AttemptRow, WorkerRow
from phoenix.settings import EngineSettings, SchedulerSettings, WorkerSettings
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.supervisor import ProcessSpec, hand_back, supervise

TIMEOUT_S = 300


async def test_a_clip_of_a_killed_process_runs_again_without_a_lease_reaper(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.05))
    async with supervised(harness, ProcessSpec("all", "cpu"), ProcessSpec("gpu", "cpu")):
        workers = {row.id: row for row in await until_live(harness, 2)}
        job_id = await harness.submit(a_reel(steps=40))
        job = await harness.until_running(job_id)
        await harness.until_step(job_id)
        os.kill(workers[job.tasks[0].lease_owner or ""].pid, signal.SIGKILL)
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED
    outcomes = [attempt.outcome for attempt in await harness.attempts(job.tasks[0].id)]
    assert outcomes == [AttemptEndState.CRASHED, AttemptEndState.SUCCEEDED]


async def test_a_killed_process_is_forgotten_and_its_successor_renders(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    async with supervised(harness, ProcessSpec("all", "cpu")):
        (first,) = await until_live(harness, 1)
        os.kill(first.pid, signal.SIGKILL)
        (second,) = await until_live(harness, 1, without=frozenset({first.id}))
        async with harness.services.database.read() as session:
            assert await session.get(WorkerRow, first.id) is None
        job = await harness.until_ended(await harness.submit(a_reel()))
    assert job.row.state is JobState.SUCCEEDED
    assert [attempt.worker_id for attempt in await harness.attempts(job.tasks[0].id)] == [second.id]


async def test_a_process_that_stands_still_is_replaced_and_its_clip_runs_again(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.05), scheduler=SchedulerSettings(lease_s=6, heartbeat_s=0.5))
    async with supervised(harness, ProcessSpec("all", "cpu")):
        (hanging,) = await until_live(harness, 1)
        job_id = await harness.submit(a_reel(steps=20))
        await harness.until_running(job_id)
        os.kill(hanging.pid, signal.SIGSTOP)
        job = await harness.until_ended(job_id)
    assert job.row.state is JobState.SUCCEEDED
    workers = [attempt.worker_id for attempt in await harness.attempts(job.tasks[0].id)]
    assert workers[0] == hanging.id
    assert hanging.id not in workers[1:]


async def test_a_stop_hands_back_what_does_not_finish_and_ends_the_children(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.05), worker=WorkerSettings(drain_grace_s=0.2))
    async with supervised(harness, ProcessSpec("gpu", "cpu")) as stop:
        job_id = await harness.submit(a_reel(steps=2000))
        await harness.until_step(job_id)
        stop.set()
    task = (await harness.job(job_id)).tasks[0]
    assert (task.state, task.preemptions, task.crashes) == (TaskState.READY, 1, 0)
    await until_live(harness, 0)


async def test_a_process_that_recycles_is_replaced_without_a_crash(open_harness: OpenHarness) -> None:
    harness = await open_harness(worker=WorkerSettings(recycle_after_tasks=1, restart_delay_s=60))
    async with supervised(harness, ProcessSpec("all", "cpu")):
        job = await harness.until_ended(await harness.submit(a_reel(clips=1)))
    assert job.row.state is JobState.SUCCEEDED
    assert {task.lease_owner for task in job.tasks} == {None}
    owners = {(await harness.attempts(task.id))[0].worker_id for task in job.tasks}
    assert len(owners) == 2


async def test_a_process_that_cannot_be_started_does_not_affect_the_others(
    open_harness: OpenHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO
) -> None:
    python, away = tmp_path / "python", tmp_path / "being-replaced"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    harness = await open_harness(worker=WorkerSettings(restart_delay_s=0.1))
    async with supervised(harness, ProcessSpec("gpu", "cpu"), ProcessSpec("media", "cpu")):
        first, other = await until_live(harness, 2)
        python.rename(away)
        os.kill(first.pid, signal.SIGKILL)
        async with asyncio.timeout(300):
            while not lines_about(log_lines, "worker process could not be started"):  # noqa: ASYNC110 - a text
                await asyncio.sleep(0.05)
        away.rename(python)
        live = await until_live(harness, 2, without=frozenset({first.id}))
    assert other.id in {row.id for row in live}


async def test_after_the_end_of_the_fork_server_processes_are_new_interpreters(
    open_harness: OpenHarness, log_lines: io.StringIO
) -> None:
    harness = await open_harness()
    ours, theirs = socket.socketpair()
    theirs.close()
    stop = asyncio.Event()
    fork_server = ForkServer(ours, os.getpid())
    supervising = asyncio.create_task(
        supervise(harness.settings, [ProcessSpec("all", "cpu")], stop, fork_server=fork_server)
    )
    (worker,) = await until_live(harness, 1)
    command = psutil.Process(worker.pid).cmdline()
    stop.set()
    await supervising
    ours.close()

    assert "phoenix.worker" in command
    assert (
        len(lines_about(log_lines, "the fork server was killed: worker processes import their modules themselves")) == 1
    )


async def test_a_supervisor_ends_where_no_process_can_use_its_settings(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    async with asyncio.timeout(TIMEOUT_S):
        specs = [ProcessSpec("gpu", "cuda:98"), ProcessSpec("gpu", "cuda:99")]
        assert await supervise(harness.settings, specs, asyncio.Event()) is ExitStatus.UNUSABLE


async def test_a_supervisor_ends_where_one_of_its_queues_has_no_usable_process(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    async with asyncio.timeout(TIMEOUT_S):
        specs = [ProcessSpec("gpu", "cuda:99"), ProcessSpec("media", "cpu")]
        assert await supervise(harness.settings, specs, asyncio.Event()) is ExitStatus.UNUSABLE


async def test_a_process_that_cannot_use_its_settings_does_not_affect_the_others(
    open_harness: OpenHarness, log_lines: io.StringIO
) -> None:
    harness = await open_harness()
    async with supervised(harness, ProcessSpec("gpu", "cuda:99"), ProcessSpec("all", "cpu")):
        async with asyncio.timeout(TIMEOUT_S):
            while not lines_about(log_lines, "worker process ended"):  # noqa: ASYNC110 - a text
                await asyncio.sleep(0.05)
        job = await harness.until_ended(await harness.submit(a_reel()))
    assert job.row.state is JobState.SUCCEEDED
    assert lines_about(log_lines, "worker process ended")[0]["status"] == ExitStatus.UNUSABLE


async def test_a_worker_process_with_an_unknown_model_to_warm_up_is_unusable(open_harness: OpenHarness) -> None:
    harness = await open_harness(engine=EngineSettings(warm_models=("sora",)))
    async with asyncio.timeout(TIMEOUT_S):
        assert await supervise(harness.settings, [ProcessSpec("gpu", "cpu")], asyncio.Event()) is ExitStatus.UNUSABLE


async def test_two_processes_on_a_cpu_take_turns_and_a_clip_whose_turn_does_not_come_times_out(
    open_harness: OpenHarness,
) -> None:
    # The first clip takes ten seconds, and the second one waits for a fifth of a second.
    harness = await open_harness(animatic=slowed(5), worker=WorkerSettings(slot_timeout_s=0.2))
    async with supervised(harness, ProcessSpec("gpu", "cpu", 2), ProcessSpec("gpu", "cpu", 2)):
        await until_live(harness, 2)
        job_id = await harness.submit(a_reel(clips=2, steps=2))
        job = await harness.until(job_id, lambda found: any(task.error for task in found.tasks))
    (error,) = [task.error for task in job.tasks if task.error]
    assert (error["code"], error["stage"]) == ("TIMEOUT", "queue")
    assert "in use by other processes" in error["message"]


def test_the_command_ends_with_a_device_that_is_not_there(tmp_path: Path, sqlite_url: URL, redis_url: str) -> None:
    command = [sys.executable, "-m", "phoenix", "worker", "--queue", "gpu", "--device", "cuda:99"]
    ours = {"PYTHONPATH": os.pathsep.join(sys.path), "PHOENIX_DATA_DIR": str(tmp_path), "REDIS_URL": redis_url}
    environment = {**os.environ, **ours}
    ended = child_processes.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == ExitStatus.UNUSABLE
    assert "there is no device 'cuda:99' here" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"PHOENIX_MEDIA__FFMPEG": "/bin/true"}, "/bin/true cannot encode a clip"),
        ({"PHOENIX_MEDIA__ENCODER": "nvenc"}, "PHOENIX_MEDIA__ENCODER is nvenc, and NVENC does not work here"),
    ],
)
def test_the_command_ends_with_an_ffmpeg_that_cannot_do_what_it_has_to(
    tmp_path: Path, sqlite_url: URL, redis_url: str, setting: dict[str, str], complaint: str
) -> None:
    command = [sys.executable, "-m", "phoenix.worker", "--queue", "media"]
    ours = {"PYTHONPATH": os.pathsep.join(sys.path), "PHOENIX_DATA_DIR": str(tmp_path), "REDIS_URL": redis_url}
    environment = {**os.environ, **ours, **setting}
    ended = child_processes.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == ExitStatus.UNUSABLE
    assert complaint in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_task_that_cannot_be_handed_back_is_left_to_the_lease_reaper_and_the_others_are_not(
    open_harness: OpenHarness,
) -> None:
    harness = await open_harness()
    database = harness.services.database
    for _ in range(2):
        await harness.submit(a_reel())
    broken, whole = [await claim_next(database, worker_id="wrk_dead") for _ in range(2)]
    async with database.write() as uow:
        await uow.session.execute(delete(AttemptRow).where(col(AttemptRow.task_id) == broken.task_id))

    rule = RetryRule.from_settings(harness.settings.scheduler)
    assert await hand_back(database, "wrk_dead", rule) == 1

    tasks = [
        next(task for task in (await harness.job(claimed.job_id)).tasks if task.id == claimed.task_id)
        for claimed in (broken, whole)
    ]
    assert [task.state for task in tasks] == [TaskState.RUNNING, TaskState.READY]


async def test_handing_back_touches_only_the_dead_worker_s_tasks(open_harness: OpenHarness) -> None:
    harness = await open_harness(animatic=slowed(0.05))
    async with harness.worker("gpu"):
        job_id = await harness.submit(a_reel(steps=20))
        await harness.until_step(job_id)
        rule = RetryRule.from_settings(harness.settings.scheduler)
        assert await hand_back(harness.services.database, "wrk_somebody_else", rule) == 0
        await harness.until(job_id, lambda job: job.tasks[0].state is TaskState.SUCCEEDED)
    assert (await harness.job(job_id)).tasks[0].attempt == 1
