"""Times and sizes of `phoenix keys`, as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from phoenix.cli.keys.options import parse_instant, parse_period, parse_size


@pytest.mark.parametrize(
    ("text", "period"),
    [("30d", timedelta(days=30)), ("12h", timedelta(hours=12)), ("90M", timedelta(minutes=90)), ("2w", timedelta(14))],
)
def test_a_period_has_a_unit(text: str, period: timedelta) -> None:
    assert parse_period(text) == period


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "1.5h", "36500d", "999999999w", "٣d"])
def test_what_is_no_period_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30d, 12h"):
        parse_period(text)


def test_an_instant_may_have_an_offset() -> None:
    assert parse_instant("2026-12-31T18:00+01:00") == datetime(2026, 12, 31, 17, tzinfo=UTC)
    assert parse_instant("2026-12-31") == datetime(2026, 12, 31).astimezone()


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "0001-01-01T00:00+14:00"])
def test_what_is_no_instant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="2026-12-31"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500000", 500_000), ("750MB", 750 * 10**6), ("2 tb", 2 * 10**12)]
)
def test_a_size_may_have_a_decimal_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5GB", "5 GiB", "999999999999999TB", "٣"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="750MB"):
        parse_size(text)
