"""How durations and numbers are written for people."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.clock import in_seconds, plain_number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.02, "0.02 s"), (5.0625, "5.0625 s"), (100 / 3, "33.3333 s"), (600, "600 s"), (24000.0, "24000 s")],
)
def test_a_duration_is_in_seconds(seconds: float, text: str) -> None:
    assert in_seconds(seconds) == text


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_no_number_has_an_exponent_and_each_is_right_to_four_decimals(value: float) -> None:
    text = plain_number(value)
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]{1,4})?", text)
    assert abs(float(text) - value) <= 0.00005 + 1e-9
