"""What is reported of an attempt, by what it raised and what it was asked."""

import errno

import pytest

from phoenix.engine.cancellation import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.errors import MediaStopped
from phoenix.worker.runner import Failed, Stopped, ending_of

FAILURE = TaskFailed(FailureCode.GPU_OOM, "no memory", stage=Stage.DENOISE, retriable=True)


def test_a_failure_is_reported_as_it_is() -> None:
    assert ending_of(FAILURE, None) == Failed(FAILURE)


@pytest.mark.parametrize("error", [RenderStopped(StopReason.CANCEL), MediaStopped(), FAILURE, RuntimeError("killed")])
def test_a_stop_explains_whatever_was_raised(error: BaseException) -> None:
    assert ending_of(error, StopReason.PREEMPT) == Stopped(StopReason.PREEMPT)


def test_a_stop_tells_its_own_reason_where_none_is_known() -> None:
    assert ending_of(RenderStopped(StopReason.DEADLINE), None) == Stopped(StopReason.DEADLINE)


def test_a_stalled_attempt_is_a_failure_that_may_be_tried_again() -> None:
    ending = ending_of(RenderStopped(StopReason.STALLED), StopReason.STALLED)
    assert isinstance(ending, Failed)
    assert (ending.failure.code, ending.failure.retriable) == (FailureCode.ENGINE_FAILED, True)


def test_a_full_disk_is_the_storage_s_failure() -> None:
    ending = ending_of(OSError(errno.ENOSPC, "No space left on device"), None)
    assert isinstance(ending, Failed)
    assert (ending.failure.code, ending.failure.retriable) == (FailureCode.STORAGE_FAILED, True)


def test_the_owner_is_not_told_the_text_of_an_unexpected_error() -> None:
    ending = ending_of(RuntimeError("/srv/secret/path"), None)
    assert isinstance(ending, Failed)
    assert "secret" not in ending.failure.detail
    assert "RuntimeError" in ending.failure.detail
