"""Forms of OpenAI's SDKs for videos: the reels that they become, and the errors that they get."""

from io import BytesIO
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, UploadFile

from phoenix.api.openai.errors import param_of
from phoenix.api.openai.forms import collect_fields, read_json_text, validate_fields
from phoenix.api.openai.views import find_form_errors, job_id_of, to_reel, video_id_of, view_video
from phoenix.api.openapi.postprocess import EXAMPLES
from phoenix.catalog.catalog import load_catalog
from phoenix.contract import Job, ReelRequest, VideoError, VideoRequest
from phoenix.errors import InvalidRequest

CATALOG = load_catalog()
PICTURE = "art_01kag3e9zq4f7w5m8x2c6b0n1d"


def reel_of(**fields: Any) -> ReelRequest:
    return to_reel(validate_fields(fields, VideoRequest), {}, CATALOG, default_model="animatic")


def job_in(state: str, **changes: Any) -> Job:
    return Job.model_validate(EXAMPLES["Job"] | {"state": state} | changes)


def test_a_prompt_is_a_reel_of_one_clip() -> None:
    reel = reel_of(prompt="a balloon", seconds="4", size="720x1280", seed="7")

    assert [clip.prompt for clip in reel.clips] == ["a balloon"]
    assert (reel.duration_s, reel.resolution, reel.aspect_ratio, reel.seed) == (4, "720p", "9:16", 7)


def test_clips_in_json_text_are_a_whole_reel_and_the_prompt_is_its_title() -> None:
    reel = reel_of(prompt="the harbour", clips='[{"prompt": "a"}, {"prompt": "b", "duration_s": 2}]')

    assert [(clip.prompt, clip.duration_s) for clip in reel.clips] == [("a", None), ("b", 2)]
    assert reel.metadata == {"video_prompt": "the harbour"}


def test_a_reference_is_the_first_frame() -> None:
    reel = reel_of(prompt="a", model="wan-2.1-i2v-14b-480p", input_reference={"file_id": PICTURE})

    assert [(each.role, each.source.artifact_id) for each in reel.clips[0].conditions] == [("first_frame", PICTURE)]


def test_a_size_that_the_model_does_not_make_is_refused_with_those_that_it_makes() -> None:
    video = VideoRequest(prompt="a", model="wan-2.1-t2v-1.3b", size="1280x720")

    (error,) = find_form_errors(video, CATALOG, default_model="animatic")

    assert (error.pointer, "480x832, 624x624" in error.detail) == ("/size", True)


@pytest.mark.parametrize("video", [{"size": "1280x721", "model": "sora-2"}, {"size": "426x240"}, {}])
def test_a_size_that_is_made_or_left_out_has_no_error_nor_has_one_of_an_unknown_model(video: dict[str, str]) -> None:
    assert find_form_errors(VideoRequest(prompt="a", **video), CATALOG, default_model="animatic") == []


@pytest.mark.parametrize(("given", "read"), [('[{"prompt": "a"}]', [{"prompt": "a"}]), ("[{", "[{"), ([1], [1])])
def test_the_json_text_of_clips_is_read_if_it_can_be(given: object, read: object) -> None:
    assert read_json_text({"clips": given, "prompt": "a"}, "clips") == {"clips": read, "prompt": "a"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": " "},
        {"prompt": "a", "seconds": "soon"},
        {"prompt": "a", "seconds": "nan"},
        {"prompt": "a", "size": "big"},
        {"prompt": "a", "clips": "[{]"},
        {"prompt": "a", "clips": "[]"},
        {"prompt": "a", "clips": "[" * 100_000},
        {"prompt": "a", "quality": "best"},
    ],
)
def test_a_form_that_cannot_be_understood_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(RequestValidationError):
        validate_fields(fields, VideoRequest)


def test_fields_in_brackets_are_groups() -> None:
    form = collect_fields([("prompt", "a"), ("input_reference[file_id]", PICTURE)])

    assert form.fields == {"prompt": "a", "input_reference": {"file_id": PICTURE}}


@pytest.mark.parametrize("name", ["clips[][prompt]", "clips[]", "a b", "x" * 65, "prompt", "input_reference[file_id]"])
def test_a_field_whose_place_is_lost_is_refused(name: str) -> None:
    items = [("prompt", "a"), ("input_reference[file_id]", PICTURE), (name, "b")]

    with pytest.raises(InvalidRequest):
        collect_fields(items)


def test_only_the_reference_is_a_file() -> None:
    file = UploadFile(BytesIO(b"x"), filename="a.png", headers=Headers())

    assert collect_fields([("input_reference", file)]).file is file
    with pytest.raises(InvalidRequest):
        collect_fields([("mask", file)])


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("queued", "queued", None),
        ("running", "in_progress", None),
        ("succeeded", "completed", None),
        ("failed", "failed", "gpu_oom"),
        ("canceled", "failed", "cancelled"),
        ("expired", "failed", "expired"),
    ],
)
def test_a_state_is_one_of_the_four_statuses_that_the_sdks_know(state: str, status: str, code: str | None) -> None:
    error = {"code": "GPU_OOM", "message": "It did not fit.", "retriable": True, "stage": "denoise", "clip_index": 0}
    finished = None if state in ("queued", "running") else "2026-01-31T12:00:09Z"

    video = view_video(job_in(state, error=error if code else None, finished_at=finished))

    assert (video.status, video.error.code if isinstance(video.error, VideoError) else None) == (status, code)
    assert (video.completed_at is not None) == (status == "completed")
    assert video.progress == (100 if status == "completed" else 25)


def test_a_video_is_its_job_under_another_name() -> None:
    assert video_id_of("job_01kag3e9zq4f7w5m8x2c6b0n1d") == "video_01kag3e9zq4f7w5m8x2c6b0n1d"
    assert job_id_of("video_01kag3e9zq4f7w5m8x2c6b0n1d") == "job_01kag3e9zq4f7w5m8x2c6b0n1d"


@pytest.mark.parametrize(
    ("pointer", "param"),
    [
        ("/clips/0/duration_s", "seconds"),
        ("/resolution", "size"),
        ("/clips/0/conditions/0/source/artifact_id", "input_reference"),
        ("/clips/0/conditions", "input_reference"),
        ("/clips/1/conditions/0/role", "clips.1.conditions.0.role"),
        ("/clips/1/prompt", "clips.1.prompt"),
        ("/query/limit", "limit"),
        ("#/resolution", "resolution"),
        ("#/frame_images/0/frame_type", "frame_images.0.frame_type"),
        ("", None),
    ],
)
def test_a_fault_names_the_field_of_the_form(pointer: str, param: str | None) -> None:
    assert param_of(pointer) == param
