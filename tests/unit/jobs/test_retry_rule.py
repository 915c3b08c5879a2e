"""Whether a failed task is tried again, and when."""

import pytest

from phoenix.errors import FailureCode, Stage, TaskFailed, no_space
from phoenix.jobs.execution.retries import RetryRule

RULE = RetryRule(max_failures=3, max_crashes=2, first_delay_s=2)


def failure(*, retriable: bool) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, "it broke", stage=Stage.DENOISE, retriable=retriable)


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 2), (2, 4)])
def test_a_failure_that_may_pass_is_followed_by_another_try_after_a_growing_delay(failures: int, delay_s: float):
    assert RULE.find_delay_s(failure(retriable=True), failures, attempt=1, jitter=0) == delay_s


@pytest.mark.parametrize(("attempt", "delay_s"), [(1, 5), (2, 10), (30, 300)])
def test_a_task_that_found_no_space_is_tried_again_however_often_it_has_failed(attempt: int, delay_s: float):
    failed = no_space("the disk is full", stage=Stage.UPLOAD)
    assert RULE.find_delay_s(failed, 99, attempt=attempt, jitter=0) == delay_s


def test_the_last_failure_is_not_followed_by_another_try():
    assert RULE.find_delay_s(failure(retriable=True), 3, attempt=1, jitter=0) is None


def test_a_failure_that_would_come_again_is_not_followed_by_another_try():
    assert RULE.find_delay_s(failure(retriable=False), 1, attempt=1, jitter=0) is None
