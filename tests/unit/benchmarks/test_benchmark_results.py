"""What a row of `make bench` says about its rounds."""

import pytest
from suite.results import Kind, Measurement, Round, Row, Spread, Verdict, conclude, decide, find_spread, in_digits

ROW = Row("post", "POST", "ms", "a peer", 1.5)
LIMITED = Row("up", "ready", "s", "limit", 1.0, Kind.ONE_SIDE)


def measured(*ratios: float, row: Row = ROW) -> Measurement:
    return Measurement(row, [Round(2 * ratio, 2) for ratio in ratios])


def test_the_ratio_is_the_median_of_the_ratios_and_not_the_ratio_of_the_medians() -> None:
    rounds = [Round(1, 1), Round(4, 2), Round(30, 10), Round(400, 100), Round(500, 100)]

    assert conclude(Measurement(ROW, rounds), others_cores=0).ratio == 3


def test_value_and_reference_are_medians_in_the_unit_of_the_row() -> None:
    result = conclude(Measurement(ROW, [Round(3, 1), Round(5, 4), Round(4, 2)]), others_cores=0)

    assert (result.value, result.reference_value) == (4, 2)


@pytest.mark.parametrize(
    ("ratios", "spread"),
    [
        # 1 - 2 / 2^5 is 94 %.
        ([5, 1, 4, 2, 3], Spread(1, 5)),
        # 1 - 2 (1 + 8) / 2^8 is 93 %, and a third pair would leave 71 %.
        ([1, 2, 3, 4, 5, 6, 7, 8], Spread(2, 7)),
        # 1 - 2 (1 + 7) / 2^7 is 88 %.
        ([1, 2, 3, 4, 5, 6, 7], Spread(1, 7)),
    ],
)
def test_the_spread_is_the_narrowest_that_has_the_median_with_the_confidence(
    ratios: list[float], spread: Spread
) -> None:
    assert find_spread(ratios) == spread


@pytest.mark.parametrize("count", [0, 1, 4])
def test_fewer_than_five_rounds_have_no_spread(count: int) -> None:
    assert find_spread([1.0] * count) is None


def test_few_rounds_have_no_verdict_however_good_they_are() -> None:
    result = conclude(measured(0.1, 0.1, 0.1, 0.1), others_cores=0)

    assert (result.verdict, result.reason) == (Verdict.NO_VERDICT, "too few rounds")


@pytest.mark.parametrize(
    ("spread", "verdict"),
    [
        (Spread(1.0, 1.5), Verdict.MET),
        (Spread(1.0, 1.6), Verdict.NO_VERDICT),
        (Spread(1.5, 1.6), Verdict.NO_VERDICT),
        (Spread(1.6, 1.7), Verdict.MISSED),
    ],
)
def test_the_whole_spread_decides(spread: Spread, verdict: Verdict) -> None:
    assert decide(ROW, spread, others_cores=0)[0] is verdict


@pytest.mark.parametrize(
    ("row", "others_cores", "verdict"),
    [
        (LIMITED, 0.2, Verdict.NO_VERDICT),
        (LIMITED, 0.1, Verdict.MISSED),
        (ROW, 2.0, Verdict.MISSED),
    ],
)
def test_only_a_limit_on_a_busy_machine_is_not_called_missed(row: Row, others_cores: float, verdict: Verdict) -> None:
    assert decide(row, Spread(2, 3), others_cores)[0] is verdict


def test_a_limit_that_holds_on_a_busy_machine_is_met() -> None:
    assert decide(LIMITED, Spread(0.5, 0.9), others_cores=2.0)[0] is Verdict.MET


def test_a_row_without_an_aim_is_only_compared() -> None:
    row = Row("post-asgi", "POST", "ms", "a peer", None)

    result = conclude(measured(9, 9, 9, 9, 9, row=row), others_cores=0)

    assert (result.verdict, result.ratio) == (Verdict.NO_AIM, 9)


def test_a_row_that_could_not_be_measured_says_why() -> None:
    result = conclude(Measurement(ROW, (), "nginx is missing"), others_cores=0)

    assert (result.verdict, result.reason, result.ratio) == (Verdict.NOT_MEASURED, "nginx is missing", None)


def test_a_result_names_the_command_that_repeats_it() -> None:
    assert conclude(measured(1), others_cores=0).command == "make bench ONLY=post"


@pytest.mark.parametrize(
    ("number", "text"), [(0.123, "0.12"), (9.87, "9.87"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_numbers_have_about_three_digits(number: float, text: str) -> None:
    assert in_digits(number) == text
