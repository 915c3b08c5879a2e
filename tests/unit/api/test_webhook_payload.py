"""What a webhook says, and to which target it counts."""

import pytest

from phoenix.clock import utc_now
from phoenix.contract import JobCanceled, JobError, JobFailed, JobState
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.tables import JobRow
from phoenix.jobs.webhooks.outbox import MAX_PAYLOAD_BYTES, make_payload, target_of


def a_job(**options: object) -> JobRow:
    return JobRow(
        id="job_1",
        owner_id="me",
        kind="reel",
        state=JobState.FAILED,
        request={},
        options=dict(options),
        created_at=utc_now(),
        queued_at=utc_now(),
        run_timeout_s=1,
    )


def failed(message: str) -> JobFailed:
    error = JobError(code=FailureCode.GPU_OOM, message=message, retriable=True, stage=Stage.DENOISE)
    return JobFailed(job_id="job_1", seq=3, at=utc_now(), error=error)


def test_a_failure_says_why() -> None:
    payload = make_payload(a_job(metadata={"k": "v"}), failed("no memory"))

    assert (payload.type, payload.data.seq, payload.data.metadata) == ("job.failed", 3, {"k": "v"})
    assert payload.data.error is not None
    assert payload.data.error.message == "no memory"


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f388", "\0"])
def test_no_payload_is_longer_than_it_may_be(letter: str) -> None:
    job = a_job(metadata={f"{number}": letter * 512 for number in range(32)})

    for event in (failed(letter * 1_000_000), JobCanceled(job_id="job_1", seq=3, at=utc_now())):
        assert len(make_payload(job, event).model_dump_json().encode()) < MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org/a?b", "https://example.org"),
        ("https://example.org:443/x", "https://example.org"),
        ("https://example.org:8443/x", "https://example.org:8443"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_urls_of_one_host_count_as_one_target(url: str, target: str) -> None:
    assert target_of(url) == target
