"""The two published documents: in sync with the routes, exemplified, and each fit for whom it is for."""

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pytest
from pydantic import TypeAdapter

from fixtures.repository import REPOSITORY
from phoenix.api.openapi.postprocess import EXAMPLES
from phoenix.contract import MediaInfo, artifacts, events, fleet, jobs, models, problems, storyboards, videos, webhooks
from phoenix.media.probe import media_type_of

TYPES = {
    name: getattr(module, name)
    for module in (artifacts, events, fleet, jobs, models, problems, storyboards, videos, webhooks)
    for name in EXAMPLES
    if hasattr(module, name)
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "deploy")
        import openapi_documents  # noqa: PLC0415 - a script beside those of deploy

        return openapi_documents.render()


@pytest.fixture(scope="module")
def plain(rendered: dict[str, str]) -> dict[str, Any]:
    return json.loads(rendered["openapi.json"])


@pytest.fixture(scope="module")
def exact(rendered: dict[str, str]) -> dict[str, Any]:
    return json.loads(rendered["openapi-3.2.json"])


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in document["paths"].values():
        for operation in path.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                for kind, media in body.get("content", {}).items():
                    yield operation["operationId"], kind, media


@pytest.mark.parametrize("media_format", ["mp3", "wav", "amr", "mov", "webm", "avi", "png", "webp", "heic", "gif"])
@pytest.mark.parametrize("media", ["audio", "image", "video"])
def test_every_media_type_of_an_upload_is_documented(exact: dict[str, Any], media: str, media_format: str) -> None:
    answers = exact["paths"]["/v1/artifacts/{artifact_id}/content"]["get"]["responses"]
    stored = media_type_of(MediaInfo(media=media, format=media_format))

    for status in ("200", "206"):
        assert any(fnmatch(stored, documented) for documented in answers[status]["content"])
    assert "multipart/byteranges" in answers["206"]["content"]


def test_no_file_is_read_as_text_by_a_generator(plain: dict[str, Any]) -> None:
    files = [kind for _, kind, media in bodies(plain) if media["schema"].get("format") == "binary"]

    assert "video/mp4" in files
    assert not [kind for kind in files if kind.startswith("text/")]


def test_captions_are_documented_where_contracts_are_tested(exact: dict[str, Any]) -> None:
    answers = exact["paths"]["/v1/jobs/{job_id}/content"]["get"]["responses"]

    assert all({"text/vtt", "application/x-subrip"} <= answers[status]["content"].keys() for status in ("200", "206"))


@pytest.mark.parametrize("name", ["openapi.json", "openapi-3.2.json"])
def test_the_committed_document_is_what_the_routes_say(rendered: dict[str, str], name: str) -> None:
    assert (REPOSITORY / "docs" / name).read_text() == rendered[name], "run `make openapi`"


def test_every_body_that_is_not_a_file_or_a_stream_has_an_example(plain: dict[str, Any]) -> None:
    for operation_id, kind, media in bodies(plain):
        if kind != "text/event-stream" and media["schema"].get("format") != "binary":
            assert media["examples"], (operation_id, kind)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_an_example_is_a_whole_value_of_its_type(name: str) -> None:
    adapter = TypeAdapter[Any](TYPES[name])

    shown = adapter.dump_python(adapter.validate_python(EXAMPLES[name], by_name=True, by_alias=True), mode="json")

    assert {key.replace("-", "_") for key in EXAMPLES[name]} == set(shown)


def test_in_the_plain_document_a_stream_is_only_that(plain: dict[str, Any]) -> None:
    responses = plain["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]

    assert plain["openapi"].startswith("3.1")
    assert responses["200"]["content"] == {"text/event-stream": {"schema": {"$ref": "#/components/schemas/JobEvent"}}}
    assert "204" not in responses


def test_in_the_exact_document_a_stream_is_a_sequence_of_messages(exact: dict[str, Any]) -> None:
    responses = exact["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]
    message = exact["components"]["schemas"]["JobEventMessage"]["properties"]

    assert exact["openapi"] == "3.2.0"
    assert responses["200"]["content"]["text/event-stream"] == {
        "itemSchema": {"$ref": "#/components/schemas/JobEventMessage"}
    }
    assert {"204", "200"} <= set(responses)
    assert message["data"]["contentSchema"] == {"$ref": "#/components/schemas/JobEvent"}


def test_only_the_exact_document_says_that_a_soundtrack_has_one_source(
    plain: dict[str, Any], exact: dict[str, Any]
) -> None:
    assert "oneOf" not in plain["components"]["schemas"]["SoundtrackRequest"]
    assert len(exact["components"]["schemas"]["SoundtrackRequest"]["oneOf"]) == 2


def test_only_the_exact_document_has_the_defaults_of_bodies(plain: dict[str, Any], exact: dict[str, Any]) -> None:
    assert "default" not in plain["components"]["schemas"]["ReelRequest"]["properties"]["priority"]
    assert exact["components"]["schemas"]["ReelRequest"]["properties"]["priority"]["default"] == "normal"


def test_every_answer_carries_the_request_id_and_errors_say_when_to_retry(plain: dict[str, Any]) -> None:
    for path in plain["paths"].values():
        for operation in path.values():
            assert all("X-Request-ID" in answer["headers"] for answer in operation["responses"].values())
            assert "Retry-After" in operation["responses"]["default"]["headers"]


def test_everything_takes_a_key_but_health_and_streams_and_media_take_a_token_too(plain: dict[str, Any]) -> None:
    own = {
        operation["operationId"]: operation["security"]
        for path in plain["paths"].values()
        for operation in path.values()
        if "security" in operation
    }

    assert plain["security"] == [{"api_key": []}]
    assert own.pop("stream_job_events") == [{"api_key": []}, {"stream_token": []}]
    for name in (
        *("get_job_content", "get_clip_content", "get_artifact_content"),
        *("get_playlist", "get_clip_segments"),
    ):
        assert own.pop(name) == [{"api_key": []}, {"media_token": []}]
    assert own == {"get_health": [], "get_liveness": [], "get_readiness": []}


@pytest.mark.parametrize(("body", "field"), [("Job", "request"), ("EventPage", "data"), ("JobSnapshot", "job")])
def test_no_union_is_left_without_a_name(plain: dict[str, Any], body: str, field: str) -> None:
    shown = plain["components"]["schemas"][body]["properties"][field]

    assert "$ref" in shown or "$ref" in shown["items"]
