"""The settings of a serverless container, its answers, and its progress reports."""

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fixtures.event_examples import AT, JOB_ID, a_clip, a_job, clip_preview, clip_progress, job_canceled
from phoenix.cli.serverless import answers
from phoenix.cli.serverless.answers import Throttle, find_progress
from phoenix.cli.serverless.runpod import SdkMissing, container_settings, load_sdk, send_progress
from phoenix.contract import JobError, JobSnapshot, JobState
from phoenix.errors import FailureCode, Stage
from phoenix.settings import DatabaseSettings, RedisSettings, Settings, StorageSettings


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    return json.loads(answer["error"])


def test_a_container_keeps_its_files_in_a_separate_folder_and_leaves_the_database_of_the_operator_alone():
    given = Settings(
        database=DatabaseSettings(url="postgresql://fleet/x"),
        redis=RedisSettings(url="redis://fleet"),
        storage=StorageSettings(url="s3://bucket/reels/", s3_region="eu-central-1"),
    )
    container = container_settings(given, Path("/tmp/x"), "pod-1")

    assert (container.database.url, container.redis.url) == (None, None)
    assert (container.storage.url, container.storage.s3_region) == ("s3://bucket/reels/pod-1", "eu-central-1")


def test_without_a_store_the_files_are_in_the_folder_that_goes_with_the_container():
    container = container_settings(Settings(), Path("/tmp/x"), "pod-1")
    assert (container.storage.url, container.data_dir) == (None, Path("/tmp/x"))


def test_a_failed_reel_is_reported_with_its_clips():
    error = JobError(code=FailureCode.GPU_OOM, message="no memory", retriable=True, stage=Stage.DENOISE, clip_index=1)
    failed = a_clip(1).model_copy(update={"error": error})
    job = a_job(clips=[a_clip(0), failed], state=JobState.FAILED).model_copy(update={"error": error})

    assert error_of(answers.not_made(job)) == {
        "error_type": "GPU_OOM",
        "error_message": "no memory",
        "stage": "denoise",
        "faults": [{"pointer": "/clips/1", "detail": "GPU_OOM: no memory"}],
        "job_id": JOB_ID,
    }


def test_a_canceled_reel_has_no_other_error_than_that():
    assert error_of(answers.not_made(a_job(state=JobState.CANCELED)))["error_type"] == "CANCELED"


def test_a_container_without_its_server_is_to_be_replaced():
    assert answers.server_unavailable("it has ended")["refresh_worker"] is True


@pytest.mark.parametrize("event", [clip_preview(), job_canceled(6)])
def test_what_says_nothing_of_progress_and_the_last_event_are_not_reported(event: Any):
    assert find_progress(event) is None


def test_the_snapshot_of_an_ended_job_is_not_reported():
    job = a_job(state=JobState.CANCELED)

    assert find_progress(JobSnapshot(job_id=JOB_ID, seq=1, at=AT, job=job)) is None


def test_progress_is_that_of_the_whole_reel():
    event = clip_progress(4).model_copy(update={"job_progress": 0.34199, "job_eta_s": 7.5})

    assert find_progress(event) == {"job_id": JOB_ID, "state": "running", "progress": 0.342, "eta_s": 7.5}


def test_one_report_is_sent_in_each_interval():
    throttle = Throttle(interval_s=2)

    assert [throttle.admits(now_s) for now_s in (10, 11, 12, 13, 14.5)] == [True, False, True, False, True]


class SendingSdk:
    """Sends as RunPod's SDK does: from a thread, which here waits until it may."""

    def __init__(self) -> None:
        self.may_send = threading.Event()
        self.sent: list[Any] = []

    def start(self, config: dict[str, Any]) -> None:
        raise NotImplementedError

    def progress_update(self, job: dict[str, Any], progress: Any) -> None:
        threading.Thread(target=self._send, args=(progress,), daemon=True).start()

    def _send(self, progress: Any) -> None:
        self.may_send.wait()
        self.sent.append(progress)


async def test_a_report_is_waited_for_so_that_no_result_overtakes_it():
    sdk = SendingSdk()
    sending = asyncio.create_task(send_progress(sdk, {"id": "1"}, {"progress": 0.5}))
    await asyncio.sleep(0)
    was_waiting = not sending.done()
    sdk.may_send.set()
    await sending

    assert was_waiting
    assert sdk.sent == [{"progress": 0.5}]


class WithoutRunPod:
    """Finds every module but RunPod's."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "runpod":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "meta_path", [WithoutRunPod(), *sys.meta_path])
    monkeypatch.setenv("RUNPOD_LOG_LEVEL", "INFO")

    with pytest.raises(SdkMissing, match=r"pip install '\.\[runpod\]'"):
        load_sdk()
