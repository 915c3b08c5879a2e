"""Each event of a stream and each webhook against the schemas of the document of version 3.2, by jsonschema."""

import json
from typing import Any

import pytest
from jsonschema import ValidationError

from fixtures import event_examples as examples
from fixtures.event_examples import AT, ERROR, JOB_ID
from fixtures.exact_document import EXACT_DOCUMENT
from phoenix.api.openapi.postprocess import EVENT_STREAM, EXAMPLES
from phoenix.contract import (
    DurableEvent,
    EphemeralEvent,
    JobApproved,
    JobAssembling,
    JobAwaitingApproval,
    JobExpired,
    JobFailed,
    JobSnapshot,
)
from phoenix.contract.storyboards import StoryboardEvent
from phoenix.events.messages import encode

MESSAGE = "#/components/schemas/JobEventMessage"
_OF_JOB: dict[str, Any] = {"job_id": JOB_ID, "seq": 2, "at": AT}
EVENTS: list[DurableEvent | EphemeralEvent] = [
    examples.job_queued(1),
    examples.job_started(2),
    examples.job_canceled(2),
    examples.job_succeeded(2),
    examples.clip_started(2),
    examples.clip_retrying(2),
    examples.clip_failed(2),
    examples.clip_succeeded(2),
    examples.clip_progress(3),
    examples.clip_preview(),
    examples.queue_moved(3),
    JobAwaitingApproval(**_OF_JOB, draft_job_id=JOB_ID, expires_at=AT),
    JobApproved(**_OF_JOB),
    JobAssembling(**_OF_JOB),
    JobFailed(**_OF_JOB, error=ERROR),
    JobExpired(**_OF_JOB, error=ERROR),
    JobSnapshot(**_OF_JOB, job=examples.a_job(clips=[examples.a_clip()])),
]
STORYBOARD_EVENTS: list[dict[str, Any]] = [
    *(
        {"type": name, "storyboard_id": "stb_1", "storyboard": EXAMPLES["Storyboard"]}
        for name in ("storyboard", "storyboard.written", "storyboard.failed")
    ),
    {"type": "storyboard.delta", "storyboard_id": "stb_1", "attempt": 1, "text": "{"},
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_event_of_a_job_is_sent_as_documented(event: DurableEvent | EphemeralEvent) -> None:
    assert EXACT_DOCUMENT.check_stream(MESSAGE, encode(event).frame.decode()) == [event.type]


def test_every_event_of_a_job_is_documented() -> None:
    documented = EXACT_DOCUMENT.schema("JobEventMessage")["properties"]["event"]["enum"]

    assert sorted(event.type for event in EVENTS) == documented


@pytest.mark.parametrize("event", STORYBOARD_EVENTS, ids=lambda event: event["type"])
def test_an_event_of_a_storyboard_is_sent_as_documented(event: dict[str, Any]) -> None:
    sent = StoryboardEvent.model_validate(event).model_dump_json()
    stream = f"event: {event['type']}\ndata: {sent}\n\n"

    assert EXACT_DOCUMENT.check_stream("#/components/schemas/StoryboardEventMessage", stream) == [event["type"]]


def test_every_event_of_a_storyboard_is_documented() -> None:
    documented = EXACT_DOCUMENT.schema("StoryboardEventMessage")["properties"]["event"]["enum"]

    assert sorted(event["type"] for event in STORYBOARD_EVENTS) == documented


@pytest.mark.parametrize(
    "frame",
    [
        "event: job.finished\ndata: {}\n\n",
        'event: job.started\ndata: {"type": "job.started", "job_id": "job_1"}\n\n',
        'event: job.started\ndata: {"type": "job.finished", "job_id": "j", "seq": 1, "at": "2026-01-01T00:00Z"}\n\n',
    ],
    ids=["an unknown name", "a field is missing", "an unknown type"],
)
def test_what_is_no_event_does_not_hold(frame: str) -> None:
    with pytest.raises(ValidationError):
        EXACT_DOCUMENT.check_stream(MESSAGE, frame)


def test_every_stream_says_what_its_messages_are() -> None:
    streams = {
        (method, path): response["content"][EVENT_STREAM]
        for path, operations in EXACT_DOCUMENT.content["paths"].items()
        for method, operation in operations.items()
        for response in operation["responses"].values()
        if EVENT_STREAM in response.get("content", {})
    }

    assert {("get", "/v1/events"), ("get", "/v1/jobs/{job_id}/events"), ("post", "/v1/storyboards")} <= set(streams)
    assert [place for place, stream in streams.items() if set(stream) != {"itemSchema"}] == []


@pytest.mark.parametrize("name", sorted(EXACT_DOCUMENT.content["webhooks"]))
def test_the_example_of_a_webhook_holds(name: str) -> None:
    (media,) = EXACT_DOCUMENT.content["webhooks"][name]["post"]["requestBody"]["content"].values()

    EXACT_DOCUMENT.check(media["schema"]["$ref"], media["examples"]["example"]["value"])
    with pytest.raises(ValidationError):
        EXACT_DOCUMENT.check(media["schema"]["$ref"], json.loads('{"type": "job.finished"}'))
