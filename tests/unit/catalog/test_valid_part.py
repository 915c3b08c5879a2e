"""The part of a body that is checked further although other fields have errors."""

from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.contract import ReelRequest, SoundtrackJobRequest, StitchRequest
from phoenix.contract.valid_part import ValidPart

CLIP = {"prompt": "a red balloon"}
UPLOAD = "art_" + "1" * 26


def part_of(body: Any, kind: type[Any] = ReelRequest) -> ValidPart[Any]:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)
    return ValidPart(kind, body, [error["loc"] for error in caught.value.errors()])


def test_wrong_fields_are_left_out_and_the_others_stay() -> None:
    body = {"clips": [CLIP, {**CLIP, "steps": 0, "seed": 3}], "fps": 999, "duration_s": 400}
    request = part_of(body).request
    assert request == ReelRequest.model_validate({"clips": [CLIP, {**CLIP, "seed": 3}], "duration_s": 400})
    assert body["fps"] == 999


@pytest.mark.parametrize("clips", [[], None, [{}], [{"prompt": " "}], ["x"], [{"prompt": 7, "sed": 1}]])
def test_what_must_be_there_has_a_substitute(clips: Any) -> None:
    part = part_of({"clips": clips, "fps": 50, "model": "animatic"})
    assert part.request is not None
    assert (len(part.request.clips), part.request.fps) == (1, 50)
    assert not part.is_error_of_body("/clips")


def test_ids_and_sources_have_substitutes_too() -> None:
    stitch = part_of({"artifact_ids": ["x", UPLOAD]}, StitchRequest)
    assert stitch.request is not None
    assert stitch.request.artifact_ids[1] == UPLOAD
    assert [stitch.is_error_of_body(f"/artifact_ids/{index}") for index in range(2)] == [False, True]
    assert part_of({"duration_s": 3}, SoundtrackJobRequest).request is not None


def test_errors_at_a_wrong_field_above_it_and_below_it_are_not_repeated() -> None:
    part = part_of({"clips": [CLIP, {**CLIP, "steps": 0}], "fps": 999, "webhook": {"url": "x"}})
    pointers = ["/fps", "/clips", "/clips/1", "/clips/1/steps", "/webhook/url", "/webhook", "", "/webhook/url/x"]
    assert not any(map(part.is_error_of_body, pointers))
    assert all(map(part.is_error_of_body, ["/clips/0", "/clips/1/seed", "/duration_s", "/soundtrack/artifact_id"]))


@pytest.mark.parametrize("wrong", [{"duration_s": -1}, {"clips": [CLIP, 7]}, {"transition": {"kind": "fade"}}])
def test_nothing_is_said_of_what_fits_into_an_unknown_length(wrong: Any) -> None:
    part = part_of({"clips": [CLIP], **wrong})
    assert not part.is_error_of_body("/soundtrack/fade_in_s")
    assert not part.is_error_of_body("/transition/duration_s")


@pytest.mark.parametrize("wrong", [{"model": 7}, {"modle": "animatic"}])
def test_nothing_is_said_of_the_default_model_if_another_may_be_meant(wrong: Any) -> None:
    assert part_of({"clips": [CLIP], "fps": 50, **wrong}).request is None
    assert part_of({"clips": [CLIP], "model": "animatic", "fsp": 1}).request is not None


@pytest.mark.parametrize("body", [None, [], "x", b"a=1"])
def test_what_is_no_object_has_no_part(body: Any) -> None:
    assert ValidPart(ReelRequest, body, [()]).request is None
