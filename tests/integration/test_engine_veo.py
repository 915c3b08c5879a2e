"""Veo through Google's own SDK, against a local server that speaks its wire format."""

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures.flashes import FlashingClip
from fixtures.media_files import MediaMaker
from fixtures.renders import Recorder, make_clip
from fixtures.scripted_server import Answer
from fixtures.veo_server import ASK, BEGIN, OpenVeo, VeoServer, as_sent, refusal
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.backends.veo.engine import VeoEngine
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver, RenderedClip
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings, VeoSettings

MODEL = load_catalog().get("veo-3.1")
BREAKS = Answer(200, b'{"name": "op', breaks=True)


@pytest.fixture
def engine(open_veo: OpenVeo) -> VeoEngine:
    return open_veo()


def clip_inputs(image_path: Path | None = None, **changes: Any) -> ClipInputs:
    values = {"width": 128, "height": 72, "fps": 24, "num_frames": 96, "steps": 100, **changes}
    return ClipInputs(make_clip(**values), MODEL, (ConditionFile("first_frame", image_path),) if image_path else ())


def failure_of(engine: VeoEngine, inputs: ClipInputs | None = None) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        list(engine.render(inputs or clip_inputs(), NullObserver()).frames)
    return caught.value


def levels(rendered: RenderedClip) -> list[int]:
    """The number that the middle of each frame shows, by its grey level."""
    middle = 3 * (rendered.width * (rendered.height // 2) + rendered.width // 2)
    return [round(bytes(frame)[middle] * 219 / 255 / 2) for frame in rendered.frames]


def test_a_clip_has_the_requested_size_and_length(engine: VeoEngine) -> None:
    rendered = engine.render(clip_inputs(), NullObserver())

    assert (rendered.width, rendered.height, rendered.fps, rendered.num_frames) == (128, 72, 24, 96)
    frames = list(rendered.frames)
    assert len(frames) == 96
    assert {len(frame) for frame in frames} == {128 * 72 * 3}


def test_the_request_has_the_values_of_the_clip(engine: VeoEngine, veo_server: VeoServer) -> None:
    engine.render(clip_inputs(prompt="a fox", negative_prompt="a hen", seed=11), NullObserver())

    (request,) = veo_server.requests(BEGIN)
    assert request.path == "/v1beta1/publishers/google/models/veo-3.1-generate-001:predictLongRunning"
    assert request.headers["x-goog-api-key"] == "a-key"
    assert json.loads(request.body) == {
        "instances": [{"prompt": "a fox"}],
        "parameters": {
            "sampleCount": 1,
            "durationSeconds": 4,
            "aspectRatio": "16:9",
            "resolution": "720p",
            "seed": 11,
            "negativePrompt": "a hen",
            "generateAudio": True,
        },
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_frames": 120}, {"durationSeconds": 6}),
        ({"num_frames": 192}, {"durationSeconds": 8}),
        ({"width": 72, "height": 128}, {"aspectRatio": "9:16"}),
        ({"width": 1920, "height": 1080, "num_frames": 2}, {"resolution": "1080p"}),
    ],
)
def test_the_nearest_video_that_covers_the_clip_is_requested(
    engine: VeoEngine, veo_server: VeoServer, changes: dict[str, int], said: dict[str, Any]
) -> None:
    engine.render(clip_inputs(**changes), NullObserver())

    assert veo_server.bodies(BEGIN)[0]["parameters"].items() >= said.items()


def test_sound_is_kept_in_sync_with_the_picture(engine: VeoEngine, veo_server: VeoServer, media: MediaMaker) -> None:
    video = FlashingClip("talking.mp4", seconds=4, flashes_s=(1, 2.5), fps="24", picture_from_s=0.25).write(media)
    veo_server.outcome = {"response": {"videos": [as_sent(video.read_bytes())]}}

    sound = engine.render(clip_inputs(num_frames=84), NullObserver()).sound

    assert sound is not None
    assert (sound.channels, sound.rate_hz) == (2, 48_000)
    samples = np.frombuffer(sound.samples, "<f4").reshape(-1, 2)
    assert len(samples) == 84 * 2000
    loud_s = np.flatnonzero(abs(samples[:, 0]) > 0.25) / 48_000
    # The clip begins with the first frame, a quarter of a second after the sound.
    assert loud_s[0] == pytest.approx(0.75, abs=0.005)
    assert loud_s[loud_s > 1][0] == pytest.approx(2.25, abs=0.005)


def test_a_video_without_sound_is_a_clip_without_sound(
    engine: VeoEngine, veo_server: VeoServer, media: MediaMaker
) -> None:
    silent = media.video("silent.mp4", frames=96, fps="24")
    veo_server.outcome = {"response": {"videos": [as_sent(silent.read_bytes())]}}

    assert engine.render(clip_inputs(), NullObserver()).sound is None


def test_sound_that_is_dropped_is_not_paid_for(engine: VeoEngine, veo_server: VeoServer) -> None:
    rendered = engine.render(clip_inputs(keeps_sound=False), NullObserver())

    assert rendered.sound is None
    assert veo_server.bodies(BEGIN)[0]["parameters"]["generateAudio"] is False


def test_a_first_frame_is_cropped_to_the_aspect_ratio_of_the_clip(
    engine: VeoEngine, veo_server: VeoServer, png_file: Path
) -> None:
    engine.render(clip_inputs(png_file), NullObserver())

    image = veo_server.bodies(BEGIN)[0]["instances"][0]["image"]
    assert image["mimeType"] == "image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(image["bytesBase64Encoded"]))).size == (128, 72)


def test_progress_grows_and_is_complete_only_with_the_video(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.questions, recorder = 5, Recorder()

    engine.render(clip_inputs(), recorder)

    assert recorder.stages == [Stage.DENOISE, Stage.DECODE]
    assert len(recorder.steps) == 6
    assert recorder.steps == sorted(recorder.steps)
    assert recorder.steps[0] == (1, 100)
    assert recorder.steps[-1] == (100, 100)


@pytest.mark.parametrize(
    ("fps", "num_frames", "shown"),
    [
        (24, 96, list(range(96))),
        (12, 48, list(range(0, 96, 2))),
        (8, 10, list(range(0, 30, 3))),
        (30, 10, [0, 0, 1, 2, 3, 4, 4, 5, 6, 7]),
    ],
)
def test_another_frame_rate_shows_each_frame_at_its_time(
    engine: VeoEngine, fps: int, num_frames: int, shown: list[int]
) -> None:
    seen = levels(engine.render(clip_inputs(fps=fps, num_frames=num_frames), NullObserver()))

    assert [level - seen[0] for level in seen] == shown


def test_a_video_that_is_slightly_too_short_repeats_its_last_frame(engine: VeoEngine) -> None:
    seen = levels(engine.render(clip_inputs(num_frames=104), NullObserver()))

    assert len(seen) == 104
    assert len(set(seen[95:])) == 1


def test_a_video_of_another_aspect_ratio_is_cropped_around_its_middle(
    engine: VeoEngine, veo_server: VeoServer, session_media
) -> None:
    path = session_media.folder / "bars.mp4"
    session_media.ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=320x180:r=24:d=4,drawbox=x=80:w=160:h=180:color=lime:t=fill"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)),
    )
    veo_server.outcome = {"response": {"videos": [as_sent(path.read_bytes())]}}

    frame = bytes(next(engine.render(clip_inputs(width=90, height=90), NullObserver()).frames))

    picture = Image.frombytes("RGB", (90, 90), frame)
    # 180 of 320 columns are left, of which the middle 160 are green: 5 columns of red at each side.
    assert [picture.getpixel((x, 45))[1] > 128 for x in (1, 8, 45, 81, 88)] == [False, True, True, True, False]


def test_a_throttled_request_is_retried_after_the_requested_delay(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.begin_with = [refusal(429, Retry_After="0.3")]
    started_s = time.monotonic()

    engine.render(clip_inputs(), NullObserver())

    assert time.monotonic() - started_s >= 0.3
    assert (len(veo_server.requests(BEGIN)), len(veo_server.begun)) == (2, 1)


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_stays_busy_fails_the_attempt_after_its_retries(
    engine: VeoEngine, veo_server: VeoServer, status: int
) -> None:
    veo_server.begin_with = [refusal(status) for _ in range(20)]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.UPSTREAM_RATE_LIMITED, True)
    assert len(veo_server.requests(BEGIN)) == 4


def test_a_requested_delay_over_the_limit_ends_the_retries(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.begin_with = [refusal(429, Retry_After="3600")]
    started_s = time.monotonic()

    assert failure_of(engine).code is FailureCode.UPSTREAM_RATE_LIMITED
    assert len(veo_server.requests(BEGIN)) == 1
    assert time.monotonic() - started_s < 60


def test_a_filtered_video_is_a_final_refusal_with_its_reason(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.outcome = {
        "response": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["It shows a celebrity. Code 15236754"]}
    }

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.MODERATED, False)
    assert "It shows a celebrity. Code 15236754" in failed.detail
    assert len(veo_server.begun) == 1


def test_a_blocked_prompt_is_a_final_refusal_with_its_reason(engine: VeoEngine, veo_server: VeoServer) -> None:
    text = "The prompt could not be submitted. It contains sensitive words. Support codes: 17301594"
    veo_server.begin_with = [refusal(400, text)]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.MODERATED, False)
    assert text in failed.detail


def test_a_prompt_blocked_after_it_was_accepted_is_a_final_refusal(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.outcome = {"error": {"code": 3, "message": "The image violates Vertex AI's usage guidelines."}}

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.MODERATED, False)


@pytest.mark.parametrize(
    ("code", "failure", "retriable"),
    [
        (13, FailureCode.ENGINE_FAILED, True),
        (8, FailureCode.UPSTREAM_RATE_LIMITED, True),
        (3, FailureCode.ENGINE_FAILED, False),
    ],
)
def test_a_failed_operation_is_retriable_by_its_code(
    engine: VeoEngine, veo_server: VeoServer, code: int, failure: FailureCode, retriable: bool
) -> None:
    veo_server.outcome = {"error": {"code": code, "message": "it broke"}}

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (failure, retriable)
    assert "it broke" in failed.detail


def test_an_attempt_after_a_failed_operation_starts_another(
    engine: VeoEngine, veo_server: VeoServer, veo_video: Path
) -> None:
    veo_server.outcome = {"error": {"code": 13, "message": "it broke"}}
    failure_of(engine)
    veo_server.outcome = {"response": {"videos": [as_sent(veo_video.read_bytes())]}}

    engine.render(clip_inputs(), NullObserver())

    assert len(veo_server.begun) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_or_model_that_is_not_accepted_is_final(engine: VeoEngine, veo_server: VeoServer, status: int) -> None:
    veo_server.begin_with = [refusal(status, "not for you")]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.MODEL_UNAVAILABLE, False)
    assert "not for you" in failed.detail


@pytest.mark.parametrize("trouble", [BREAKS, Answer(200, b"<html>"), refusal(500), refusal(503), refusal(429)])
def test_a_failed_poll_is_retried(engine: VeoEngine, veo_server: VeoServer, trouble: Answer) -> None:
    veo_server.ask_with = [trouble, trouble]

    engine.render(clip_inputs(), NullObserver())

    assert len(veo_server.begun) == 1
    assert len(veo_server.requests(ASK)) == 4
    assert len({body["operationName"] for body in veo_server.bodies(ASK)}) == 1


def test_an_attempt_in_another_process_resumes_the_paid_operation(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    veo_server.ask_with = [BREAKS] * 4
    failed = failure_of(open_veo())

    open_veo().render(clip_inputs(), NullObserver())

    assert failed.retriable
    assert (len(veo_server.requests(BEGIN)), len(veo_server.begun)) == (1, 1)


def test_a_finished_clip_that_is_requested_again_is_made_again(engine: VeoEngine, veo_server: VeoServer) -> None:
    engine.render(clip_inputs(), NullObserver())
    engine.render(clip_inputs(), NullObserver())

    assert len(veo_server.begun) == 2


def test_an_expired_operation_is_replaced_by_another(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.ask_with = [refusal(404)]
    failed = failure_of(engine)

    engine.render(clip_inputs(), NullObserver())

    assert failed.retriable
    assert len(veo_server.begun) == 2


@pytest.mark.parametrize("trouble", [BREAKS, refusal(500), Answer(200, b"{}")])
def test_a_clip_that_may_have_been_accepted_is_not_sent_again(
    engine: VeoEngine, veo_server: VeoServer, trouble: Answer
) -> None:
    veo_server.begin_with = [trouble]

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.ENGINE_FAILED, False)
    assert len(veo_server.requests(BEGIN)) == 1


def test_an_unreachable_service_is_retried_and_then_unavailable(open_veo: OpenVeo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    failed = failure_of(open_veo(base_url=f"http://127.0.0.1:{port}"))

    assert (failed.code, failed.retriable) == (FailureCode.MODEL_UNAVAILABLE, True)


def test_a_clip_that_takes_too_long_is_resumed_by_the_next_attempt(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    veo_server.questions = 1000
    failed = failure_of(open_veo(timeout_s=0.05))
    veo_server.begun = dict.fromkeys(veo_server.begun, 0)

    open_veo().render(clip_inputs(), NullObserver())

    assert (failed.code, failed.retriable) == (FailureCode.TIMEOUT, True)
    assert len(veo_server.requests(BEGIN)) == 1


def stop_once_asked(veo_server: VeoServer, recorder: Recorder) -> Callable[[], float]:
    """Asks for a stop as soon as the server has been asked; returns what tells when that was."""
    asked_s: list[float] = []

    def wait_and_stop() -> None:
        assert veo_server.was_asked.wait(100)
        asked_s.append(time.monotonic())
        recorder.stop.stop(StopReason.CANCEL)

    threading.Thread(target=wait_and_stop, daemon=True).start()
    return lambda: asked_s[0]


@pytest.mark.parametrize("hangs", [False, True], ids=["between questions", "while a question hangs"])
def test_a_cancel_takes_effect_at_once(open_veo: OpenVeo, veo_server: VeoServer, hangs: bool) -> None:
    veo_server.questions, veo_server.hangs = 1000, hangs
    engine, recorder = open_veo(poll_interval_s=60, request_timeout_s=60, max_concurrent=1), Recorder()
    stopped_s = stop_once_asked(veo_server, recorder)

    with pytest.raises(RenderStopped):
        engine.render(clip_inputs(), recorder)

    assert time.monotonic() - stopped_s() < 30  # less than the time limits of a question and of the pause after it
    veo_server.questions, veo_server.hangs = 0, False
    engine.render(clip_inputs(seed=8), NullObserver())  # its slot is free


def test_a_cancel_takes_effect_during_the_delay_before_a_retry(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    veo_server.begin_with = [refusal(429, Retry_After="30")]
    engine, recorder = open_veo(max_retry_delay_s=60), Recorder()
    threading.Timer(0.2, recorder.stop.stop, [StopReason.CANCEL]).start()
    started_s = time.monotonic()

    with pytest.raises(RenderStopped):
        engine.render(clip_inputs(), recorder)

    assert time.monotonic() - started_s < 20
    assert veo_server.begun == {}


def test_a_canceled_clip_that_is_requested_again_is_not_paid_for_twice(
    open_veo: OpenVeo, veo_server: VeoServer
) -> None:
    veo_server.questions = 1000
    engine, recorder = open_veo(), Recorder()
    stop_once_asked(veo_server, recorder)
    with pytest.raises(RenderStopped):
        engine.render(clip_inputs(), recorder)
    veo_server.begun = dict.fromkeys(veo_server.begun, 0)

    engine.render(clip_inputs(), NullObserver())

    assert len(veo_server.requests(BEGIN)) == 1


def test_no_more_clips_run_at_a_time_than_the_limit_allows(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    veo_server.questions = 3
    engine = open_veo(max_concurrent=2)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda seed: engine.render(clip_inputs(seed=seed), NullObserver()), range(6)))

    assert (len(veo_server.begun), veo_server.most_under_way) == (6, 2)


def test_two_equal_clips_at_the_same_time_are_two_operations(open_veo: OpenVeo, veo_server: VeoServer) -> None:
    veo_server.questions = 20
    engine = open_veo()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: engine.render(clip_inputs(), NullObserver()), range(2)))

    assert len(veo_server.begun) == 2


def test_what_is_no_video_fails_the_clip(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.outcome = {"response": {"videos": [as_sent(b"\x00\x01 not a video" * 100)]}}

    failed = failure_of(engine)

    assert (failed.code, failed.stage, failed.retriable) == (FailureCode.ENGINE_FAILED, Stage.DECODE, True)


@pytest.mark.parametrize("num_frames", [144, 192])
def test_a_video_that_is_far_too_short_fails_the_clip(engine: VeoEngine, num_frames: int) -> None:
    failed = failure_of(engine, clip_inputs(num_frames=num_frames))

    assert (failed.code, failed.stage) == (FailureCode.ENGINE_FAILED, Stage.DECODE)
    assert "it ends after 3.96" in failed.detail


@pytest.mark.parametrize("size_bytes", [300_000, 3_000_000], ids=["a little", "by far"])
def test_a_video_that_is_too_large_is_refused(open_veo: OpenVeo, veo_server: VeoServer, size_bytes: int) -> None:
    veo_server.outcome = {"response": {"videos": [as_sent(bytes(size_bytes))]}}
    engine = open_veo(max_video_bytes=200_000)

    failed = failure_of(engine)

    assert (failed.code, failed.retriable) == (FailureCode.ENGINE_FAILED, False)
    failure_of(engine)
    assert len(veo_server.begun) == 2


def test_a_video_that_was_not_sent_fails_the_clip_with_its_location(engine: VeoEngine, veo_server: VeoServer) -> None:
    veo_server.outcome = {"response": {"videos": [{"gcsUri": "gs://bucket/v.mp4", "mimeType": "video/mp4"}]}}

    assert "gs://bucket/v.mp4" in failure_of(engine).detail


def test_a_worker_serves_veo_only_with_a_key_and_renders_it_like_any_other_model(
    veo_settings: VeoSettings, tmp_path: Path
) -> None:
    def open_engines(veo: VeoSettings) -> EngineRegistry:
        return EngineRegistry(engine=EngineSettings(), animatic=AnimaticSettings(), veo=veo, operations_dir=tmp_path)

    assert not open_engines(VeoSettings()).can_serve(MODEL)
    engines = open_engines(veo_settings)
    assert engines.can_serve(MODEL)
    assert len(list(engines.render(clip_inputs(), NullObserver()).frames)) == 96
    engines.close()
