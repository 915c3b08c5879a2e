"""Which clients count as stalled."""

import pytest

from phoenix.api.http.minimum_rate import Received, is_stalled


@pytest.mark.parametrize(
    ("moved_bytes", "seconds", "stalled"),
    [(0, 30, True), (1024 * 30 - 1, 30, True), (1024 * 30, 30, False), (1023, 1, True), (1_000_000, 1, False)],
)
def test_a_client_has_to_move_a_kibibyte_a_second(moved_bytes: int, seconds: float, *, stalled: bool) -> None:
    assert is_stalled(moved_bytes, seconds) is stalled


def test_a_body_is_judged_when_its_period_is_over() -> None:
    received = Received(60)
    received.add(1, 59)

    assert not received.has_stalled()
    assert received.left_s == 1


def test_a_body_of_single_bytes_has_stalled_after_a_period() -> None:
    received = Received(60)
    for _ in range(60):
        received.add(1, 1)

    assert received.has_stalled()


def test_a_slow_body_that_advances_never_stalls() -> None:
    received, verdicts = Received(60), set[bool]()
    for _ in range(1000):
        received.add(1024 * 7, 7)
        verdicts.add(received.has_stalled())

    assert verdicts == {False}


def test_a_body_that_stops_after_a_fast_start_has_stalled_after_the_next_period() -> None:
    received = Received(60)
    received.add(10**9, 1)
    received.add(0, 59)
    assert not received.has_stalled()

    received.add(0, 60)
    assert received.has_stalled()
