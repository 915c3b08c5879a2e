"""Gemini Omni through Google's own SDK, against a local server that speaks the wire format of interactions."""

import base64
import io
import json
import socket
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from fixtures.renders import Recorder, make_clip
from fixtures.scripted_server import Answer
from fixtures.veo_server import INTERACTIONS, OpenVeo, VeoServer, as_output, refusal
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import ConditionRole, MediaInfo, ReelRequest
from phoenix.engine.backends.veo.engine import VeoEngine
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver
from phoenix.errors import FailureCode, InvalidRequest, Stage, TaskFailed

CATALOG = load_catalog()
MODEL = CATALOG.get("gemini-omni-1.2-flash")
BREAKS = Answer(200, b'{"id": "v1', breaks=True)


@pytest.fixture
def engine(open_veo: OpenVeo) -> VeoEngine:
    return open_veo()


def inputs(*conditions: tuple[ConditionRole, Path], **changes: Any) -> ClipInputs:
    clip = make_clip(**{"width": 128, "height": 72, "fps": 24, "num_frames": 96, "steps": 100, **changes})
    return ClipInputs(clip, MODEL, tuple(ConditionFile(role, path) for role, path in conditions))


def failure_of(engine: VeoEngine) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        engine.render(inputs(), NullObserver())
    return caught.value


def begun(veo_server: VeoServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in veo_server.requests(INTERACTIONS)]


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (100, 100), colour).save(path)
    return path


def test_a_clip_has_its_frames_and_its_sound(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.questions, recorder = 3, Recorder()

    rendered = engine.render(inputs(), recorder)

    assert {len(frame) for frame in rendered.frames} == {128 * 72 * 3}
    assert rendered.num_frames == 96
    assert rendered.sound is not None
    assert recorder.stages == [Stage.DENOISE, Stage.DECODE]
    assert recorder.steps[-1] == (100, 100)


def test_sound_that_a_clip_does_not_keep_is_left_out(engine: VeoEngine) -> None:
    assert engine.render(inputs(keeps_sound=False), NullObserver()).sound is None


def test_the_request_has_the_values_of_the_clip(engine: VeoEngine, veo_server: VeoServer) -> None:
    engine.render(inputs(prompt="a fox", seed=11), NullObserver())

    (request,) = veo_server.requests(INTERACTIONS)
    assert request.headers["x-goog-api-key"] == "a-key"
    assert json.loads(request.body) == {
        "model": "gemini-omni-1.2-flash",
        "background": True,
        "input": [{"type": "user_input", "content": [{"type": "text", "text": "a fox"}]}],
        "generation_config": {"seed": 11, "video_config": {"task": "text_to_video"}},
        "response_format": {
            "type": "video",
            "aspect_ratio": "16:9",
            "resolution": "360p",
            "duration": "4s",
            "delivery": "inline",
        },
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 640, "height": 360}, {"resolution": "360p"}),
        ({"width": 854, "height": 480}, {"resolution": "720p"}),
        ({"width": 1080, "height": 1920}, {"resolution": "1080p", "aspect_ratio": "9:16"}),
        ({"num_frames": 72}, {"duration": "3s"}),
        ({"num_frames": 84}, {"duration": "4s"}),
    ],
)
def test_the_nearest_video_that_covers_the_clip_is_requested(
    engine: VeoEngine, veo_server: VeoServer, changes: dict[str, int], said: dict[str, str]
) -> None:
    engine.render(inputs(**changes), NullObserver())

    assert begun(veo_server)[0]["response_format"].items() >= said.items()


@pytest.mark.parametrize(
    ("roles", "task", "colours"),
    [
        (["first_frame"], "image_to_video", ["red"]),
        (["last_frame", "first_frame"], "image_to_video", ["lime", "red"]),
        (["reference", "reference"], "reference_to_video", ["red", "lime"]),
    ],
)
def test_pictures_are_sent_in_the_order_that_gives_them_their_roles(
    engine: VeoEngine, veo_server: VeoServer, tmp_path: Path, roles: list[ConditionRole], task: str, colours: list[str]
) -> None:
    files = [picture(tmp_path / f"{place}.png", ("red", "lime")[place]) for place in range(len(roles))]

    engine.render(inputs(*zip(roles, files, strict=True)), NullObserver())

    (body,) = begun(veo_server)
    assert body["generation_config"]["video_config"] == {"task": task}
    contents = body["input"][0]["content"]
    assert [each["type"] for each in contents] == ["text", *["image"] * len(roles)]
    sent = [Image.open(io.BytesIO(base64.b64decode(each["data"]))).getpixel((36, 36)) for each in contents[1:]]
    assert ["red" if pixel[0] > pixel[1] else "lime" for pixel in sent] == colours


def raw_video(path: Path, levels: range) -> Path:
    """Frames of 128x72 in rgb24, each of one grey."""
    path.write_bytes(b"".join(bytes([level]) * (128 * 72 * 3) for level in levels))
    return path


def test_a_source_video_is_sent_as_an_mp4_to_be_edited(
    engine: VeoEngine, veo_server: VeoServer, tmp_path: Path
) -> None:
    video = raw_video(tmp_path / "source.rgb", range(20, 212, 2))
    subject = picture(tmp_path / "cat.png", "red")

    engine.render(inputs(("source_video", video), ("reference", subject)), NullObserver())

    (body,) = begun(veo_server)
    assert body["generation_config"]["video_config"] == {"task": "edit"}
    contents = body["input"][0]["content"]
    assert [each["type"] for each in contents] == ["text", "image", "video"]
    assert contents[2]["mime_type"] == "video/mp4"
    with av.open(io.BytesIO(base64.b64decode(contents[2]["data"]))) as sent:
        assert sent.streams.video[0].average_rate == 24
        greys = [float(frame.to_ndarray(format="rgb24").mean()) for frame in sent.decode(video=0)]
    assert greys == pytest.approx(list(range(20, 212, 2)), abs=3)


def test_a_retry_with_the_same_source_video_resumes_the_paid_interaction(
    open_veo: OpenVeo, veo_server: VeoServer, tmp_path: Path
) -> None:
    veo_server.ask_with = [BREAKS] * 4
    clip = inputs(("source_video", raw_video(tmp_path / "source.rgb", range(96))))
    with pytest.raises(TaskFailed):
        open_veo().render(clip, NullObserver())

    open_veo().render(clip, NullObserver())
    other = raw_video(tmp_path / "other.rgb", range(1, 97))
    open_veo().render(inputs(("source_video", other)), NullObserver())

    assert len(begun(veo_server)) == 2


def test_an_attempt_in_another_process_resumes_the_paid_interaction(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    veo_server.ask_with = [BREAKS] * 4
    failed = failure_of(open_veo())

    open_veo().render(inputs(), NullObserver())

    assert failed.retriable
    assert len(begun(veo_server)) == 1


def test_an_expired_interaction_is_replaced_by_another(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.ask_with = [refusal(404)]
    failed = failure_of(engine)

    engine.render(inputs(), NullObserver())

    assert failed.retriable
    assert len(begun(veo_server)) == 2


@pytest.mark.parametrize("trouble", [BREAKS, Answer(200, b"<html>"), Answer(200, b"{}"), refusal(500), refusal(429)])
def test_a_failed_poll_is_retried(engine: VeoEngine, veo_server: VeoServer, trouble: Answer) -> None:
    veo_server.ask_with = [trouble, trouble]

    engine.render(inputs(), NullObserver())

    assert len(begun(veo_server)) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_and_then_fails_the_attempt(
    engine: VeoEngine, veo_server: VeoServer, status: int
) -> None:
    veo_server.begin_with = [refusal(status, Retry_After="0.1") for _ in range(20)]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.UPSTREAM_RATE_LIMITED, True)
    assert len(begun(veo_server)) == 4


@pytest.mark.parametrize("trouble", [BREAKS, refusal(500), Answer(200, b"{}")])
def test_a_clip_that_may_have_been_accepted_is_not_sent_again(
    engine: VeoEngine, veo_server: VeoServer, trouble: Answer
) -> None:
    veo_server.begin_with = [trouble]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.ENGINE_FAILED, False)
    assert len(begun(veo_server)) == 1


def test_an_unreachable_service_is_retried_and_then_unavailable(open_veo: OpenVeo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    failed = failure_of(open_veo(base_url=f"http://127.0.0.1:{port}"))

    assert (failed.code, failed.retriable) == (FailureCode.MODEL_UNAVAILABLE, True)


@pytest.mark.parametrize(
    ("answer", "code", "retriable"),
    [
        (refusal(400, "duration is out of range"), FailureCode.ENGINE_FAILED, False),
        (refusal(400, "The prompt violates our usage guidelines."), FailureCode.MODERATED, False),
        (refusal(403, "not for you"), FailureCode.MODEL_UNAVAILABLE, False),
    ],
)
def test_a_refusal_is_final_and_keeps_its_reason(
    engine: VeoEngine, veo_server: VeoServer, answer: Answer, code: FailureCode, retriable: bool
) -> None:
    veo_server.begin_with = [answer]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (code, retriable)
    assert json.loads(answer.body)["error"]["message"] in failed.detail
    assert "{" not in failed.detail


STOPPED = {"code": 3, "message": "the seed is odd"}


@pytest.mark.parametrize(
    ("interaction", "code", "retriable", "said"),
    [
        ({"status": "failed", "errors": [{"message": "it broke"}]}, FailureCode.ENGINE_FAILED, True, "it broke"),
        ({"status": "failed"}, FailureCode.ENGINE_FAILED, True, "ended as failed"),
        ({"status": "cancelled"}, FailureCode.ENGINE_FAILED, True, "ended as cancelled"),
        (
            {"status": "failed", "errors": [{"message": "blocked by our safety policies"}]},
            FailureCode.MODERATED,
            False,
            "safety policies",
        ),
        ({"status": "failed", "steps": [as_output(error=STOPPED)]}, FailureCode.ENGINE_FAILED, False, "seed is odd"),
        (
            {"status": "completed", "steps": [as_output({"type": "text", "text": "I cannot draw that."})]},
            FailureCode.ENGINE_FAILED,
            True,
            "I cannot draw that.",
        ),
        ({"status": "completed", "steps": []}, FailureCode.ENGINE_FAILED, True, "no reason given"),
        (
            {"status": "completed", "steps": [as_output({"type": "video", "uri": "gs://bucket/v.mp4"})]},
            FailureCode.ENGINE_FAILED,
            False,
            "gs://bucket/v.mp4",
        ),
        (
            {"status": "completed", "steps": [as_output({"type": "video", "data": "????"})]},
            FailureCode.ENGINE_FAILED,
            False,
            "cannot be used",
        ),
    ],
)
def test_an_interaction_without_a_video_fails_the_clip_with_its_reason(
    engine: VeoEngine, veo_server: VeoServer, interaction: dict[str, Any], code: FailureCode, retriable: bool, said: str
) -> None:
    veo_server.interaction = interaction

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (code, retriable)
    assert said in failed.detail


def test_a_video_that_is_too_large_is_refused(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    failed = failure_of(open_veo(max_video_bytes=2000))

    assert (failed.code, failed.retriable) == (FailureCode.ENGINE_FAILED, False)


def refusals(conditions: list[str], **more: Any) -> str:
    artifact_id = f"art_{0:026}"
    clip = {
        "prompt": "a fox",
        "conditions": [{"role": role, "source": {"artifact_id": artifact_id}} for role in conditions],
    }
    with pytest.raises(InvalidRequest) as refused:
        admit_reel(
            ReelRequest.model_validate({"model": MODEL.id, "clips": [clip], **more}),
            CATALOG,
            default_model="animatic",
            limits=AdmissionLimits(),
            draw_seed=lambda: 0,
            media={artifact_id: MediaInfo(media="image", format="png")},
        )
    return "; ".join(error.detail for error in refused.value.field_errors)


def test_what_the_model_cannot_use_is_refused_by_name() -> None:
    assert "of at most 10 s" in refusals(["first_frame", "last_frame"], duration_s=12)
    assert "together with first_frame" in refusals(["reference", "first_frame"])
    assert "takes no control_depth" in refusals(["control_depth"])
    assert "does not take source_video together with first_frame" in refusals(["source_video", "first_frame"])
    assert "makes clips of 3.0 to 15.0 s" in refusals([], duration_s=2)
