"""The log lines that are collected for one attempt: which ones, what of them, and how many."""

import json
from typing import Any

from phoenix.telemetry.collected_lines import (
    FIRST_LINES,
    LAST_LINES,
    MAX_TEXT_LENGTH,
    LineCollector,
    collect_lines,
    collecting,
)


def log(event: str = "it happened", **values: Any) -> None:
    collecting(None, "info", {"event": event, "level": "info", "timestamp": "2026-01-31T12:00:00Z", **values})


def test_a_line_has_its_time_level_message_and_fields_without_the_ids_of_the_attempt() -> None:
    with collect_lines() as collector:
        log(job_id="job_1", task_id="task_1", attempt=1, request_id="req", logger="phoenix", model="wan", size=3)

    assert collector.lines() == (
        {
            "at": "2026-01-31T12:00:00Z",
            "level": "info",
            "message": "it happened",
            "fields": {"model": "wan", "size": 3},
        },
    )


def test_nothing_is_collected_outside_of_the_block_and_below_info() -> None:
    log()
    with collect_lines() as collector:
        log(level="debug")
    log()

    assert collector.lines() == ()


def test_of_many_lines_the_first_and_the_last_are_kept() -> None:
    collector = LineCollector()
    for number in range(FIRST_LINES + LAST_LINES + 50):
        collector.add({"event": str(number), "level": "info"})

    messages = [line["message"] for line in collector.lines()]
    assert len(messages) == FIRST_LINES + LAST_LINES
    assert (messages[FIRST_LINES - 1], messages[FIRST_LINES], messages[-1]) == ("19", "70", "149")


def test_every_value_can_be_stored() -> None:
    with collect_lines() as collector:
        log(exc_info=ValueError("bad\x00"), path=object(), text="x" * 5000, none=None)

    (line,) = collector.lines()
    stored = json.dumps(line)
    assert "\\u0000" not in stored
    assert len(line["fields"]["text"]) <= MAX_TEXT_LENGTH + 2
    assert line["fields"]["error"].startswith("ValueError: bad")
