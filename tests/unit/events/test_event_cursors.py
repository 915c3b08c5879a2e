"""Positions in the log of all jobs of an owner, in messages and as cursors."""

import re

import pytest

from fixtures.event_examples import OWNER_ID, clip_progress, clip_succeeded, job_queued
from phoenix.events.messages import (
    EventEnvelope,
    cursor_frame,
    decode_owner_message,
    format_cursor,
    parse_cursor,
    to_owner_message,
)


def test_a_cursor_is_read_back() -> None:
    assert parse_cursor(format_cursor(42, OWNER_ID), OWNER_ID) == 42


def test_a_cursor_can_be_a_header_without_a_preflight() -> None:
    assert re.fullmatch(r"[0-9A-Za-z._-]{1,64}", format_cursor(10**17, OWNER_ID))


@pytest.mark.parametrize(
    "text", [None, "", "42", "42.", "x.01234567", "1" * 19 + ".01234567", format_cursor(42, "other")]
)
def test_a_foreign_or_malformed_cursor_is_none(text: str | None) -> None:
    assert parse_cursor(text, OWNER_ID) is None


def test_a_durable_event_travels_with_its_cursor() -> None:
    encoded = decode_owner_message(to_owner_message(EventEnvelope(job_queued(1), OWNER_ID, 7)), OWNER_ID)

    assert encoded.event == job_queued(1)
    assert encoded.owner_seq == 7
    assert encoded.frame.startswith(b"id: %s\nevent: job.queued\ndata: {" % format_cursor(7, OWNER_ID).encode())


def test_progress_travels_without_an_id() -> None:
    encoded = decode_owner_message(to_owner_message(EventEnvelope(clip_progress(3), OWNER_ID)), OWNER_ID)

    assert (encoded.event, encoded.id, encoded.owner_seq) == (clip_progress(3), None, None)
    assert encoded.frame.startswith(b"event: clip.progress\n")


def test_an_event_whose_progress_is_raised_keeps_its_cursor() -> None:
    encoded = decode_owner_message(
        to_owner_message(EventEnvelope(clip_succeeded(2, progress=0.2), OWNER_ID, 9)), OWNER_ID
    )
    raised = encoded.with_job_progress_of_at_least(0.5)

    assert (raised.id, raised.owner_seq) == (encoded.id, 9)
    assert b'"progress":0.5' in raised.frame


def test_a_cursor_alone_is_no_event() -> None:
    assert cursor_frame(3, OWNER_ID) == b"id: %s\n\n" % format_cursor(3, OWNER_ID).encode()
