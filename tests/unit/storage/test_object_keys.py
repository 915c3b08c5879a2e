"""The keys of objects, which have only ids of the server in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.ids import JobId, TaskId, new_artifact_id, new_job_id, new_task_id
from phoenix.storage.keys import (
    OutputName,
    attempt_prefix,
    checked_key,
    checked_prefix,
    job_prefix,
    output_key,
    upload_key,
)


def test_an_uploads_key_names_its_artifact() -> None:
    artifact_id = new_artifact_id()
    assert upload_key(artifact_id) == f"uploads/{artifact_id}"


@pytest.mark.parametrize("name", OutputName)
def test_an_outputs_key_names_the_attempt_that_made_it(name: OutputName) -> None:
    job_id, task_id = new_job_id(), new_task_id()
    key = output_key(job_id, task_id, 2, name)
    assert key == f"jobs/{job_id}/{task_id}/2/{name}"
    assert key.startswith(attempt_prefix(job_id, task_id, 2) + "/")
    assert key.startswith(job_prefix(job_id) + "/")


@pytest.mark.parametrize(
    "text",
    ["", "/", "..", "uploads/..", "uploads/art_../../etc/passwd", "jobs/x", "/etc/passwd", "uploads/art_" + "A" * 26],
)
def test_other_text_is_not_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        checked_key(text)


@given(st.text(alphabet="./\\%~\0\nab0_", max_size=40))
def test_no_id_can_lead_out_of_the_store(text: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        output_key(JobId(text), TaskId(text), 1, OutputName.CLIP)


def test_a_line_break_after_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="not an object key"):
        checked_key(upload_key(new_artifact_id()) + "\n")


@pytest.mark.parametrize("text", ["", "jobs/..", "jobs/job_x", "uploads/", "/", "jobs/job_" + "a" * 26 + "/x"])
def test_other_text_is_not_a_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="not a prefix"):
        checked_prefix(text)


def test_an_attempt_before_the_first_has_no_key() -> None:
    with pytest.raises(ValueError, match="not an object key"):
        output_key(new_job_id(), new_task_id(), 0, OutputName.CLIP)
