"""What the log has of a failure that repeats: the first error with its cause, how often it repeated, and its end."""

import io

import pytest

from fixtures.log_lines import lines_about
from phoenix.telemetry.episodes import REPORT_INTERVAL_S, FailureEpisode
from phoenix.telemetry.logs import get_logger

FAILED, RECOVERED = "it cannot be written", "it is written again"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def episode(clock: Clock) -> FailureEpisode:
    return FailureEpisode(get_logger("phoenix.test"), FAILED, RECOVERED, clock_s=clock)


def caused(original: Exception) -> Exception:
    try:
        try:
            raise original
        except Exception as error:
            raise ConnectionError("it is away") from error
    except ConnectionError as error:
        return error


def test_the_first_failure_is_logged_with_its_original_cause(log_lines: io.StringIO, episode: FailureEpisode) -> None:
    episode.fail(caused(OSError(28, "No space left on device")), disk="database")

    (line,) = lines_about(log_lines, FAILED)
    assert (line["error"], line["disk"]) == ("ConnectionError: it is away", "database")
    assert line["cause"] == "OSError: [Errno 28] No space left on device"


def test_repeats_are_counted_and_the_count_is_logged_at_the_end(
    log_lines: io.StringIO, episode: FailureEpisode, clock: Clock
) -> None:
    for _ in range(482):
        episode.fail(OSError("away"))
    clock.now_s = 12
    episode.end()

    assert len(lines_about(log_lines, FAILED)) == 1
    (end,) = lines_about(log_lines, RECOVERED)
    assert (end["failures"], end["lasted_s"]) == (482, 12)


def test_an_episode_that_lasts_is_logged_once_a_minute(
    log_lines: io.StringIO, episode: FailureEpisode, clock: Clock
) -> None:
    for _ in range(10):
        episode.fail(OSError("away"))
        clock.now_s += REPORT_INTERVAL_S / 4

    assert [line.get("failures") for line in lines_about(log_lines, FAILED)] == [None, 5, 9]


def test_a_success_without_a_failure_is_not_logged(log_lines: io.StringIO, episode: FailureEpisode) -> None:
    episode.end()

    assert log_lines.getvalue() == ""


def test_a_failure_after_a_success_begins_another_episode(log_lines: io.StringIO, episode: FailureEpisode) -> None:
    for _ in range(2):
        episode.fail(OSError("away"))
        episode.end()

    assert [len(lines_about(log_lines, event)) for event in (FAILED, RECOVERED)] == [2, 2]


def test_an_episode_that_lasts_for_a_time_is_not_ended_by_a_success_within_it(
    log_lines: io.StringIO, episode: FailureEpisode, clock: Clock
) -> None:
    for _ in range(3):
        episode.fail(OSError("full"), lasts_s=60)
        clock.now_s += 50
        episode.end()
    clock.now_s += 10
    episode.end()

    assert len([line for line in lines_about(log_lines, FAILED) if "failures" not in line]) == 1
    (end,) = lines_about(log_lines, RECOVERED)
    assert (end["failures"], end["lasted_s"]) == (3, 160)


def test_an_unexpected_failure_is_logged_with_its_traceback(log_lines: io.StringIO, episode: FailureEpisode) -> None:
    episode.fail(caused(ValueError("a fault of the program")), is_unexpected=True)

    (line,) = lines_about(log_lines, FAILED)
    assert line["level"] == "error"
    assert "a fault of the program" in line["exception"]
