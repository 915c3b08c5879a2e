"""What the benchmark of streams counts as delivered."""

import runpy

from fixtures.repository import REPOSITORY

deliveries = runpy.run_path(str(REPOSITORY / "benchmarks" / "streams" / "figures.py"))["deliveries"]


def test_superseded_progress_shows_as_equally_few_events_of_streams_that_are_up_to_date() -> None:
    found = deliveries({3: 31, 4: 31}, {3: 40, 4: 40}, streams=2, rounds=40)

    assert found == {"delivered_share": 0.775, "fewest_events": 31, "most_events": 31, "up_to_date_share": 1}


def test_a_stream_without_any_event_counts_as_not_up_to_date() -> None:
    found = deliveries({3: 4}, {3: 4}, streams=2, rounds=4)

    assert (found["fewest_events"], found["up_to_date_share"]) == (0, 0.5)
