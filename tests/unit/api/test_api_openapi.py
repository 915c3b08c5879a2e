"""The OpenAPI document, held to what code generators need."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from phoenix.api.app import create_app
from phoenix.api.openapi.documents import Documents
from phoenix.contract import WEBHOOK_EVENT_TYPES, DurableEvent, EphemeralEvent, WebhookPayload
from phoenix.contract.videos import VideoCallback
from phoenix.settings import load_settings

PROBLEM = ("application/problem+json", {"$ref": "#/components/schemas/Problem"})
VIDEO_PROBLEM = ("application/json", {"$ref": "#/components/schemas/VideoProblem"})

type_names = [member.__name__ for union in (DurableEvent, EphemeralEvent) for member in union.__args__[0].__args__]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(load_settings()).openapi()


@pytest.fixture(scope="module")
def exact() -> dict[str, Any]:
    app = create_app(load_settings())
    return Documents(app).exact


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = [operation for path in document["paths"].values() for operation in path.values()]
    named = {operation["operationId"]: operation for operation in found}
    assert len(named) == len(found), "operation ids repeat"
    return named


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)


def test_operations_are_named_for_generated_methods(document: dict[str, Any]) -> None:
    assert sorted(operations(document)) == [
        "approve_job",
        "cancel_job",
        "change_job",
        "change_jobs",
        "create_lipsync",
        "create_media_token",
        "create_reel",
        "create_soundtrack",
        "create_stitch",
        "create_storyboard",
        "create_stream_token",
        "create_upload",
        "create_video",
        "delete_artifact",
        "delete_job",
        "delete_storyboard",
        "delete_video",
        "drain_worker",
        "edit_job",
        "edit_video",
        "estimate_reel",
        "extend_video",
        "get_artifact",
        "get_artifact_content",
        "get_clip_content",
        "get_clip_segments",
        "get_health",
        "get_job",
        "get_job_content",
        "get_key",
        "get_liveness",
        "get_log",
        "get_manifest",
        "get_playlist",
        "get_queue",
        "get_readiness",
        "get_stats",
        "get_storage",
        "get_storyboard",
        "get_usage",
        "get_video",
        "get_video_content",
        "get_webhook_secret",
        "list_artifacts",
        "list_attempts",
        "list_audit",
        "list_jobs",
        "list_models",
        "list_pauses",
        "list_queued_jobs",
        "list_shares",
        "list_storyboards",
        "list_video_models",
        "list_videos",
        "list_webhook_deliveries",
        "list_workers",
        "pause_key",
        "pause_model",
        "pause_queue",
        "refine_storyboard",
        "remix_video",
        "remove_key_share",
        "replay_webhook_delivery",
        "resume_key",
        "resume_model",
        "resume_queue",
        "resume_worker",
        "retry_job",
        "retry_storyboard",
        "rotate_webhook_secret",
        "set_key_share",
        "stream_all_events",
        "stream_job_events",
        "unload_model",
    ]


def test_every_operation_is_described_and_tagged(document: dict[str, Any]) -> None:
    declared = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document).items():
        assert set(operation["tags"]) <= declared, name
        assert operation["summary"], name
        assert not operation["summary"].endswith("."), name
        assert operation["description"], name


def test_every_operation_answers_errors_in_one_shape(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        [(kind, media)] = operation["responses"]["default"]["content"].items()
        wanted = VIDEO_PROBLEM if "videos" in operation["tags"] else PROBLEM
        assert (kind, media["schema"]) == wanted, name
        assert "422" not in operation["responses"], name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    for node in walk(document):
        if isinstance(reference := node.get("$ref"), str):
            assert reference.removeprefix("#/components/schemas/") in components


def test_components_have_plain_names(document: dict[str, Any]) -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in document["components"]["schemas"])


def test_no_parameter_may_be_null(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for parameter in operation.get("parameters", []):
            assert "null" not in str(parameter["schema"]), (name, parameter["name"])


@pytest.mark.parametrize("name", ["ReelRequest", "ClipRequest", "StitchRequest", "VideoRequest", "WebhookRequest"])
def test_what_a_body_may_leave_out_may_be_null_or_has_a_default(exact: dict[str, Any], name: str) -> None:
    schema = exact["components"]["schemas"][name]

    for field, shown in schema["properties"].items():
        may_be_null = {"type": "null"} in shown.get("anyOf", [])
        assert may_be_null == (field not in schema["required"] and "default" not in shown), field


def test_the_stream_is_typed_by_a_named_union_of_all_events(document: dict[str, Any]) -> None:
    stream = operations(document)["stream_job_events"]["responses"]
    union = document["components"]["schemas"]["JobEvent"]

    assert stream["200"]["content"] == {"text/event-stream": {"schema": {"$ref": "#/components/schemas/JobEvent"}}}
    assert union["discriminator"]["propertyName"] == "type"
    assert {choice["$ref"].rsplit("/", 1)[-1] for choice in union["oneOf"]} == set(type_names)


@pytest.mark.parametrize("name", ["get_job_content", "get_clip_content", "get_artifact_content"])
def test_files_are_binary_and_generators_find_a_type_they_know(document: dict[str, Any], name: str) -> None:
    responses = operations(document)[name]["responses"]

    for status in ("200", "206"):
        assert "application/octet-stream" in responses[status]["content"]
        assert all(media["schema"]["format"] == "binary" for media in responses[status]["content"].values())
    assert "content" not in responses["304"]


def test_an_upload_is_a_form_with_a_binary_file(document: dict[str, Any]) -> None:
    body = operations(document)["create_upload"]["requestBody"]

    assert body["content"]["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/Upload"}
    assert document["components"]["schemas"]["Upload"]["properties"]["file"]["format"] == "binary"


@pytest.mark.parametrize(
    "name",
    ["create_reel", "create_stitch", "create_soundtrack", "create_lipsync", "cancel_job", "retry_job", "approve_job"],
)
def test_an_accepted_job_says_where_and_when_to_look(document: dict[str, Any], name: str) -> None:
    operation = operations(document)[name]

    assert {"Location", "Retry-After"} <= set(operation["responses"]["202"]["headers"])
    if "requestBody" in operation:
        assert operation["requestBody"]["content"]["application/json"]["examples"]


def test_every_webhook_is_described_with_its_headers_and_a_body_that_holds(document: dict[str, Any]) -> None:
    webhooks = document["webhooks"]

    for name in WEBHOOK_EVENT_TYPES:
        entry = webhooks[name]
        (media,) = entry["post"]["requestBody"]["content"].values()
        payload = WebhookPayload.model_validate(media["examples"]["example"]["value"])
        required = {each["name"] for each in entry["post"]["parameters"] if each["required"]}
        state = "held" if name == "job.awaiting_approval" else name.removeprefix("job.")
        assert (payload.type, payload.data.state) == (name, state)
        assert required == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert media["schema"] == {"$ref": "#/components/schemas/WebhookPayload"}


def test_every_callback_of_a_video_is_described_with_its_headers_and_a_body_that_holds(
    document: dict[str, Any],
) -> None:
    callbacks = {name: entry for name, entry in document["webhooks"].items() if name not in WEBHOOK_EVENT_TYPES}

    assert set(callbacks) == set(get_args(VideoCallback.model_fields["type"].annotation))
    for name, entry in callbacks.items():
        (media,) = entry["post"]["requestBody"]["content"].values()
        payload = VideoCallback.model_validate(media["examples"]["example"]["value"])
        required = {each["name"] for each in entry["post"]["parameters"] if each["required"]}
        assert (payload.type, f"video.generation.{payload.data.status}") == (name, name)
        assert {"X-OpenRouter-Signature", "X-OpenRouter-Idempotency-Key", "webhook-id"} <= required
        assert media["schema"] == {"$ref": "#/components/schemas/VideoCallback"}
