"""Whether a failed task is tried again, and when."""

import pytest

from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.execution.retries import RetryRule

RULE = RetryRule(max_failures=3, max_crashes=2, first_delay_s=2)


def failure(*, retriable: bool) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, "it broke", stage=Stage.DENOISE, retriable=retriable)


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 2), (2, 4)])
def test_a_failure_that_may_pass_is_followed_by_another_try_after_a_growing_delay(failures: int, delay_s: float):
    assert RULE.find_delay_s(failure(retriable=True), failures, jitter=0) == delay_s


def test_the_last_failure_is_not_followed_by_another_try():
    assert RULE.find_delay_s(failure(retriable=True), 3, jitter=0) is None


def test_a_failure_that_would_come_again_is_not_followed_by_another_try():
    assert RULE.find_delay_s(failure(retriable=False), 1, jitter=0) is None
