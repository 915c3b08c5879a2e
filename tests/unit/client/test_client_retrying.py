"""When the client tries again, and after how long."""

import pytest

from phoenix.client.transport import RetryPolicy

POLICY = RetryPolicy(attempts=4, first_delay_s=1, longest_delay_s=3)


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 1), (2, 2), (3, 3)])
def test_delays_double_up_to_the_longest(failures: int, delay_s: float):
    assert POLICY.delay_s(failures) == delay_s


def test_it_gives_up_after_the_last_attempt():
    assert POLICY.delay_s(4) is None


def test_it_never_comes_back_before_the_server_asked():
    assert POLICY.delay_s(1, retry_after_s=2.5) == 2.5
    assert POLICY.delay_s(2, retry_after_s=0.1) == 2


def test_a_server_that_asks_for_too_long_is_not_waited_for():
    assert POLICY.delay_s(1, retry_after_s=3.1) is None


def test_jitter_only_lengthens_the_wait():
    assert POLICY.delay_s(1, retry_after_s=2, jitter=1) == 2.5
