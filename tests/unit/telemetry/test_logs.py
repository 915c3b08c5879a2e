"""What a log line keeps of long values and of errors, and which lines are shown."""

import io
import logging

import pytest

from fixtures.log_lines import lines_about
from phoenix.telemetry.logs import MAX_VALUE_LENGTH, cut_middle, get_logger

AT_DEBUG = pytest.mark.parametrize("log_lines", ["DEBUG"], indirect=True)


@pytest.mark.parametrize("length", [0, 1, MAX_VALUE_LENGTH])
def test_a_value_that_fits_is_kept(length: int) -> None:
    assert cut_middle("x" * length) == "x" * length


def test_a_long_value_keeps_its_beginning_and_its_end() -> None:
    cut = cut_middle("beginning" + "x" * 10 * MAX_VALUE_LENGTH + "end")
    assert cut.startswith("beginning")
    assert cut.endswith("end")
    assert len(cut) <= MAX_VALUE_LENGTH + 3


def test_a_long_traceback_that_another_library_logs_as_text_shows_its_cause(log_lines: io.StringIO) -> None:
    message = "Traceback (most recent call last):\n" + "  a frame\n" * 1000 + "ValueError: the cause"
    logging.getLogger("another.library").error(message)
    assert log_lines.getvalue().count("ValueError: the cause") == 1
    assert not lines_about(log_lines, message)


def test_the_coloured_copy_of_a_message_is_left_out(log_lines: io.StringIO) -> None:
    extra = {"color_message": "Started server process [\x1b[36m%d\x1b[0m]"}
    logging.getLogger("another.server").info("Started server process [%d]", 7, extra=extra)
    (line,) = lines_about(log_lines, "Started server process [7]")
    assert "color_message" not in line


@AT_DEBUG
def test_at_debug_the_lines_of_phoenix_are_shown(log_lines: io.StringIO) -> None:
    get_logger("phoenix.part").debug("a detail of ours")
    assert lines_about(log_lines, "a detail of ours")


@AT_DEBUG
@pytest.mark.parametrize("name", ["aiosqlite", "phoenixish", "library.phoenix"])
def test_at_debug_no_detail_of_another_library_is_shown(log_lines: io.StringIO, name: str) -> None:
    logging.getLogger(name).debug("a bound value")
    assert not lines_about(log_lines, "a bound value")


@AT_DEBUG
def test_a_library_cannot_choose_a_lower_level_for_itself(log_lines: io.StringIO) -> None:
    library = logging.getLogger("another.driver")
    library.setLevel(logging.DEBUG)
    library.debug("a bound value")
    assert not lines_about(log_lines, "a bound value")


@pytest.mark.parametrize("log_lines", ["ERROR"], indirect=True)
def test_a_level_above_info_counts_for_other_libraries_too(log_lines: io.StringIO) -> None:
    logging.getLogger("another.library").warning("a warning")
    assert not lines_about(log_lines, "a warning")


def test_a_traceback_for_people_names_the_error_and_shows_no_local_variable(console_log: io.StringIO) -> None:
    canary = "canary-" + "b7f3"
    try:
        raise ValueError(len(canary))
    except ValueError:
        get_logger("phoenix.part").exception("it failed")

    assert "ValueError: 11" in console_log.getvalue()
    assert "canary-b7f3" not in console_log.getvalue()
