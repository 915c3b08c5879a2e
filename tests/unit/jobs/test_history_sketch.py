"""Distributions in a few counters: their percentiles, sums and bounds."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenix.jobs.history.sketch import Sketch

values = st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=1, max_size=200)


@given(values, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_within_five_percent_of_the_exact_one(drawn: list[float], share: float) -> None:
    exact = sorted(drawn)[math.ceil(share * len(drawn)) - 1]

    (found,) = Sketch.of(*drawn).quantiles(share)

    assert found == pytest.approx(exact, rel=0.05)


@given(values, values)
def test_a_sum_of_sketches_is_the_sketch_of_all_values(one: list[float], other: list[float]) -> None:
    merged = Sketch.of(*one)
    merged.merge(Sketch.of(*other))

    both = Sketch.of(*one, *other)
    assert (merged.count, merged.first, merged.counts) == (both.count, both.first, both.counts)
    assert merged.total == pytest.approx(both.total)


@given(values)
def test_a_sketch_survives_json(drawn: list[float]) -> None:
    sketch = Sketch.of(*drawn)

    assert Sketch.from_document(json.loads(json.dumps(sketch.as_document()))) == sketch


@given(values)
def test_the_counts_up_to_powers_of_two_are_exact(drawn: list[float]) -> None:
    powers = range(-10, 21)

    counts = list(Sketch.of(*drawn).counts_up_to(powers))

    assert counts == [sum(value <= 2.0**power for value in drawn) for power in powers]


@given(values, values)
def test_stored_percentiles_are_those_of_the_values_also_after_more_values(
    drawn: list[float], more: list[float]
) -> None:
    stored = Sketch.from_document(Sketch.of(*drawn).as_document())
    before = stored.percentiles()
    stored.merge(Sketch.of(*more))

    assert before == Sketch.of(*drawn).percentiles()
    assert stored.percentiles() == Sketch.of(*drawn, *more).percentiles()


def test_a_sketch_of_the_previous_version_has_percentiles() -> None:
    document = Sketch.of(1.0, 2.0).as_document()
    del document["p"]

    assert Sketch.from_document(document).percentiles() == Sketch.of(1.0, 2.0).percentiles()


def test_an_empty_sketch_has_no_percentile_and_no_mean() -> None:
    assert (Sketch().quantiles(0.5), Sketch().mean, list(Sketch().counts_up_to([0, 1]))) == ((), None, [0, 0])


def test_a_negative_value_counts_as_zero() -> None:
    sketch = Sketch.of(-1.0, 0.0)

    assert (sketch.count, sketch.total, sketch.counts) == (2, 0.0, [2])
