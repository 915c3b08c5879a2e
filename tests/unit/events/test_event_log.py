"""Positions in the log, and the log in memory."""

import pytest

from fixtures.event_examples import JOB_ID, a_history, a_job, job_queued
from phoenix.errors import NotFound
from phoenix.events.in_memory_log import MemoryEventLog
from phoenix.events.log_interface import LogHead, has_seen_end, parse_last_event_id


def a_log(length: int) -> MemoryEventLog:
    log = MemoryEventLog()
    log.put(a_job())
    for event in a_history(length):
        log.append(event)
    return log


@pytest.mark.parametrize("text", [None, "", "-1", "1.5", "abc", "٣", "²", "9" * 19, "1 ", "0x1"])
def test_a_last_event_id_that_was_never_sent_is_none(text: str | None) -> None:
    assert parse_last_event_id(text) is None


def test_a_last_event_id_is_a_number() -> None:
    assert parse_last_event_id("42") == 42


@pytest.mark.parametrize(
    ("head", "last_event_id", "is_seen"),
    [
        (LogHead(5, True), 5, True),
        (LogHead(5, True), 4, False),
        (LogHead(5, False), 5, False),
        (LogHead(5, True), None, False),
    ],
)
def test_a_client_has_seen_the_end_when_it_has_the_terminal_event(
    head: LogHead, last_event_id: int | None, is_seen: bool
) -> None:
    assert has_seen_end(head, last_event_id) is is_seen


async def test_replay_returns_the_events_after_a_number() -> None:
    assert list(await a_log(4).replay(JOB_ID, 2)) == a_history(4)[2:]


async def test_heads_leave_out_unknown_jobs() -> None:
    assert await a_log(4).heads([JOB_ID, "job_unknown"]) == {JOB_ID: LogHead(4, is_terminal=True)}


async def test_a_snapshot_names_the_last_number() -> None:
    snapshot = await a_log(4).snapshot(JOB_ID)
    assert (snapshot.seq, snapshot.job.last_seq) == (4, 4)


async def test_a_snapshot_of_an_unknown_job_is_not_found() -> None:
    with pytest.raises(NotFound):
        await MemoryEventLog().snapshot(JOB_ID)


def test_a_gap_between_numbers_is_rejected() -> None:
    log = a_log(2)
    with pytest.raises(ValueError, match="expected number 3"):
        log.append(job_queued(5))
