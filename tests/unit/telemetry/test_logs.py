"""What a log line keeps of values that are too long."""

import io
import logging

import pytest

from fixtures.log_lines import lines_about
from phoenix.telemetry.logs import MAX_VALUE_LENGTH, cut_middle


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
