"""The outcome of an attempt, by the error that it raised and the stop that it was asked for."""

import errno

import pytest

from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.errors import MediaStopped
from phoenix.worker.runner import Failed, Stopped, outcome_of

FAILURE = TaskFailed(FailureCode.GPU_OOM, "no memory", stage=Stage.DENOISE, retriable=True)


def test_a_failure_is_reported_as_it_is() -> None:
    assert outcome_of(FAILURE, None, Stage.ENCODE) == Failed(FAILURE)


@pytest.mark.parametrize("error", [RenderStopped(StopReason.CANCEL), MediaStopped(), FAILURE, RuntimeError("killed")])
def test_a_stop_explains_every_error(error: BaseException) -> None:
    assert outcome_of(error, StopReason.PREEMPT, Stage.ENCODE) == Stopped(StopReason.PREEMPT)


def test_a_stop_has_its_own_reason_where_none_is_known() -> None:
    assert outcome_of(RenderStopped(StopReason.DEADLINE), None, Stage.ENCODE) == Stopped(StopReason.DEADLINE)


def test_a_stalled_attempt_is_a_failure_that_may_be_tried_again() -> None:
    outcome = outcome_of(RenderStopped(StopReason.STALLED), StopReason.STALLED, Stage.ENCODE)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.retriable) == (FailureCode.ENGINE_FAILED, True)
    assert outcome.failure.stage is Stage.ENCODE


def test_a_full_disk_is_the_storage_s_failure() -> None:
    outcome = outcome_of(OSError(errno.ENOSPC, "No space left on device"), None, Stage.ENCODE)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.retriable) == (FailureCode.STORAGE_FULL, True)


def test_the_text_of_an_unexpected_error_is_not_shown_to_the_owner() -> None:
    outcome = outcome_of(RuntimeError("/srv/secret/path"), None, Stage.ENCODE)
    assert isinstance(outcome, Failed)
    assert "secret" not in outcome.failure.detail
    assert "RuntimeError" in outcome.failure.detail


def test_an_unexpected_error_is_of_the_stage_in_which_it_was_raised() -> None:
    outcome = outcome_of(RuntimeError("broken"), None, Stage.SOUNDTRACK)
    assert isinstance(outcome, Failed)
    assert outcome.failure.stage is Stage.SOUNDTRACK
