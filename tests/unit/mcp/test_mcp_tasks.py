"""What a task of the extension reports of a job, and how often a client asks."""

import pytest

from fixtures.event_examples import a_job
from phoenix.contract import JobState
from phoenix.mcp.tasks import poll_interval_ms, status_of


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (JobState.HELD, "working"),
        (JobState.QUEUED, "working"),
        (JobState.RUNNING, "working"),
        (JobState.SUCCEEDED, "completed"),
        (JobState.FAILED, "completed"),
        (JobState.EXPIRED, "completed"),
        (JobState.CANCELED, "cancelled"),
    ],
)
def test_a_task_has_the_status_of_its_job(state: JobState, status: str) -> None:
    assert status_of(a_job().model_copy(update={"state": state})) == status


@pytest.mark.parametrize(("eta_s", "interval_ms"), [(None, 2000), (1, 1000), (50, 5000), (3600, 10_000)])
def test_a_client_asks_more_often_as_the_end_comes_closer(eta_s: float | None, interval_ms: int) -> None:
    assert poll_interval_ms(eta_s) == interval_ms
