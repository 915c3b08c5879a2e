"""How long a supervisor waits before it starts the next process."""

from phoenix.worker.supervisor import Backoff


def test_early_deaths_in_a_row_double_the_wait_up_to_a_limit() -> None:
    backoff, delays = Backoff(0.5), list[float]()
    for _ in range(9):
        backoff = backoff.after(uptime_s=1, is_recycling=False)
        delays.append(backoff.delay_s)
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_long_life_forgives_what_was_before() -> None:
    backoff = Backoff(0.5).after(uptime_s=1, is_recycling=False).after(uptime_s=600, is_recycling=False)
    assert backoff.delay_s == 0


def test_a_child_that_cannot_use_its_settings_waits_longest_at_once() -> None:
    backoff = Backoff(0.5).after(uptime_s=1, is_recycling=False, is_unusable=True)
    assert backoff.delay_s == 30
    assert backoff.after(uptime_s=600, is_recycling=False).delay_s == 0


def test_a_recycled_worker_is_replaced_without_a_wait() -> None:
    assert Backoff(0.5).after(uptime_s=1, is_recycling=True).delay_s == 0
