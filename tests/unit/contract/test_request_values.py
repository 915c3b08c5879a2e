"""What no field of a request takes: true for a number, and a text that PostgreSQL cannot store."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.contract import (
    CharacterRequest,
    ClipEdit,
    ClipLipsync,
    ClipRequest,
    ClipSource,
    Condition,
    ConditionSource,
    DraftRequest,
    EditRequest,
    ExtendedVideo,
    JobChanges,
    LipsyncRequest,
    LoraRequest,
    PauseRequest,
    ReelRequest,
    SoundSource,
    SoundtrackJobRequest,
    SoundtrackRequest,
    StitchRequest,
    StoryboardMessageRequest,
    StoryboardRequest,
    Transition,
    UpscaleRequest,
    VideoExtensionRequest,
    VideoReference,
    VideoRemixRequest,
    VideoRequest,
    WebhookRequest,
)
from phoenix.contract.requests import FaceRegion, JobOptions
from phoenix.contract.steering import BulkFilter, BulkRequest, KeyShareRequest, UnloadRequest
from phoenix.contract.videos import FrameImage, PictureAddress, PictureReference, VideoEditRequest
from phoenix.contract.wire_types import Request

ARTIFACT = "art_01kag3e9zq4f7w5m8x2c6b0n1d"
JOB = "job_01kag3e9zq4f7w5m8x2c6b0n1d"
SOUND = {"artifact_id": ARTIFACT}
VALID: dict[type[Request], dict[str, Any]] = {
    JobOptions: {},
    ReelRequest: {"clips": [{"prompt": "x"}]},
    StitchRequest: {"artifact_ids": [ARTIFACT]},
    SoundtrackJobRequest: {"source": SOUND},
    LipsyncRequest: {"video": ARTIFACT, "audio": ARTIFACT},
    ClipLipsync: {},
    FaceRegion: {"x": 0, "y": 0, "width": 16, "height": 16},
    ClipEdit: {"op": "remove", "index": 0},
    ClipRequest: {"prompt": "x"},
    ClipSource: {"job_id": JOB, "clip_index": 0},
    Condition: {"role": "first_frame", "source": {"artifact_id": ARTIFACT}},
    ConditionSource: {"job_id": JOB, "clip_index": 0},
    DraftRequest: {},
    EditRequest: {"title": "x"},
    JobChanges: {"favorite": True},
    LoraRequest: {"id": "film"},
    PauseRequest: {},
    SoundSource: SOUND,
    SoundtrackRequest: SOUND,
    BulkFilter: {},
    BulkRequest: {"action": "cancel", "filter": {}},
    KeyShareRequest: {},
    UnloadRequest: {},
    CharacterRequest: {"name": "x", "description": "x"},
    StoryboardRequest: {"idea": "x", "narrate": True},
    StoryboardMessageRequest: {"text": "x"},
    Transition: {},
    UpscaleRequest: {"id": "x4"},
    WebhookRequest: {"url": "https://example.com/"},
    VideoRequest: {"prompt": "x"},
    VideoExtensionRequest: {"prompt": "x", "video": {"id": "video_" + "0" * 26}},
    ExtendedVideo: {"id": "video_" + "0" * 26},
    VideoRemixRequest: {"prompt": "x"},
    VideoReference: {"file_id": ARTIFACT},
    VideoEditRequest: {"prompt": "x"},
    PictureAddress: {"url": "https://example.com/a.png"},
    PictureReference: {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    FrameImage: {
        "type": "image_url",
        "image_url": {"url": "https://example.com/a.png"},
        "frame_type": "first_frame",
    },
}
Field = tuple[type[Request], str]


def subclasses_of(kind: type[Request]) -> Iterator[type[Request]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses_of(each)


def fields_of(*types: str) -> list[Field]:
    """The fields of all requests that may have a value of one of these JSON types."""

    def is_one(schema: dict[str, Any]) -> bool:
        return schema.get("type") in types or any(map(is_one, schema.get("anyOf", [])))

    return [
        (kind, name)
        for kind in VALID
        for name, schema in kind.model_json_schema()["properties"].items()
        if is_one(schema)
    ]


def is_refused(kind: type[Request], name: str, value: object) -> bool:
    """Whether the field is refused, and not only the request without it."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({**VALID[kind], name: value})
    return any(error["loc"][:1] == (name,) for error in caught.value.errors())


def test_every_kind_of_request_is_tested() -> None:
    assert set(VALID) == set(subclasses_of(Request))


@pytest.mark.parametrize(("kind", "name"), fields_of("integer", "number"))
@pytest.mark.parametrize("value", [True, "+1", " 1", "1_0", "nan", "\u0661"])
def test_no_number_is_made_of_what_is_none(kind: type[Request], name: str, value: object) -> None:
    assert is_refused(kind, name, value)


@pytest.mark.parametrize(("kind", "name"), fields_of("string"))
def test_no_text_has_a_nul(kind: type[Request], name: str) -> None:
    assert is_refused(kind, name, "a\0b")


@pytest.mark.parametrize(("kind", "name"), fields_of("string"))
def test_no_text_has_half_of_a_surrogate_pair(kind: type[Request], name: str) -> None:
    assert is_refused(kind, name, "a\ud800")


@pytest.mark.parametrize("metadata", [{"a\0": "b"}, {"a": "b\0"}, {"\udfff": "b"}])
def test_metadata_have_neither_in_a_key_nor_in_a_value(metadata: dict[str, str]) -> None:
    assert is_refused(ReelRequest, "metadata", metadata)


@pytest.mark.parametrize(("kind", "name"), fields_of("boolean"))
@pytest.mark.parametrize("value", [1, 0, "yes", "true"])
def test_only_true_and_false_are_booleans(kind: type[Request], name: str, value: object) -> None:
    assert is_refused(kind, name, value)


def test_a_prompt_may_have_several_lines_and_spaces_around_it() -> None:
    assert ClipRequest(prompt=" a\n\tb ").prompt == " a\n\tb "


@pytest.mark.parametrize("prompt", ["", " ", " \n"])
def test_a_blank_prompt_is_refused(prompt: str) -> None:
    assert is_refused(ClipRequest, "prompt", prompt)


def test_a_form_sends_numbers_as_text() -> None:
    video = VideoRequest.model_validate({"prompt": "x", "seed": "7", "seconds": "4.5"})
    assert (video.seed, video.seconds) == (7, 4.5)
