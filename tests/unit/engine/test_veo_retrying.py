"""The delays between retries of a request to Veo, and the end of the retries."""

from collections.abc import Callable

import pytest

from phoenix.engine.backends.veo.errors import ResponseLost, Throttled, Unreachable
from phoenix.engine.backends.veo.retrying import VeoRetryPolicy, with_retries
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, TaskFailed

SLOW_POLICY = VeoRetryPolicy(first_s=1, longest_s=60, max_retries=10)
QUICK_POLICY = VeoRetryPolicy(first_s=0, longest_s=60, max_retries=3)


def failing(*failures: Exception) -> Callable[[], int]:
    """A call that raises these errors, one after another, and then returns the number of calls."""
    calls: list[int] = []

    def call() -> int:
        calls.append(1)
        if len(calls) <= len(failures):
            raise failures[len(calls) - 1]
        return len(calls)

    return call


def test_waits_double_up_to_the_longest():
    assert [SLOW_POLICY.delay_s(retry, jitter=1) for retry in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_spreads_a_delay_over_its_upper_half():
    assert (SLOW_POLICY.delay_s(3, jitter=0), SLOW_POLICY.delay_s(3, jitter=1)) == (2, 4)


@pytest.mark.parametrize("jitter", [0, 0.5, 1])
def test_a_delay_is_never_shorter_than_the_service_requests(jitter: float):
    delay_s = SLOW_POLICY.delay_s(1, 30, jitter=jitter)
    assert delay_s is not None
    assert 30 <= delay_s <= 31


def test_it_gives_up_after_the_last_retry_or_when_the_wait_is_too_long():
    assert SLOW_POLICY.delay_s(10) is not None
    assert SLOW_POLICY.delay_s(11) is None
    assert SLOW_POLICY.delay_s(1, 61) is None


def test_a_call_is_repeated_until_it_succeeds():
    call = failing(Throttled("busy"), Unreachable("away"))
    assert with_retries(call, QUICK_POLICY, StopToken(), retry_on=(Throttled, Unreachable)) == 3


def test_the_last_error_becomes_the_failure():
    call = failing(*[Throttled("busy")] * 3, Unreachable("away"))
    with pytest.raises(TaskFailed, match="away") as caught:
        with_retries(call, QUICK_POLICY, StopToken(), retry_on=(Throttled, Unreachable))
    assert (caught.value.code, caught.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, True)


def test_an_error_that_is_not_retriable_is_raised():
    with pytest.raises(ResponseLost):
        with_retries(failing(ResponseLost("gone")), QUICK_POLICY, StopToken(), retry_on=(Throttled,))


def test_a_stop_ends_the_wait():
    stop = StopToken()
    stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        with_retries(failing(Throttled("busy")), SLOW_POLICY, stop, retry_on=(Throttled,))
