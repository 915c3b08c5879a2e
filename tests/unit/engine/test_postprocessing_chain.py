"""The frames of a clip between its model and its encoder: counted, stopped, in a slot of a GPU, few at a time."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.tiny_onnx import write_interpolator, write_upscaler
from phoenix.catalog.postprocessors import InterpolatorSpec, UpscalerSpec
from phoenix.contract import ResolvedClip, ResolvedUpscale
from phoenix.engine.frame_stream import Frame
from phoenix.engine.interface import NullObserver, RenderedClip, RenderedSound
from phoenix.engine.postprocessing.chain import ClipPostprocessing, FrameChange, PostprocessorModels
from phoenix.engine.postprocessing.upscaling import Pixels, Upscaler
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed

WIDTH, HEIGHT, FPS = 32, 16, 8
FRAME = bytes([100]) * (WIDTH * HEIGHT * 3)


def no_check() -> None:
    pass


def clip_of(num_frames: int = 4) -> ResolvedClip:
    """Enlarged to 64x32 pixels, and interpolated to 16 frames per second."""
    return ResolvedClip(
        index=0,
        prompt="x",
        seed=1,
        steps=1,
        guidance_scale=1,
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        num_frames=num_frames,
        output_fps=2 * FPS,
        upscale=ResolvedUpscale(id="x2", scale=2, width=2 * WIDTH, height=2 * HEIGHT),
        interpolate="mid",
    )


@pytest.fixture
def slots() -> DeviceSlots:
    return DeviceSlots(1, wait_limit_s=60)


@pytest.fixture
def upscaler(tmp_path: Path) -> UpscalerSpec:
    return UpscalerSpec(id="x2", title="Two", source=str(write_upscaler(tmp_path / "x2.onnx")), factor=2)


@pytest.fixture
def interpolator(tmp_path: Path) -> InterpolatorSpec:
    source = write_interpolator(tmp_path / "mid.onnx")
    return InterpolatorSpec(id="mid", title="Mid", source=str(source), multiple=32)


@pytest.fixture
def opened(slots: DeviceSlots, upscaler: UpscalerSpec, interpolator: InterpolatorSpec) -> ClipPostprocessing:
    return PostprocessorModels(device="cpu", slots=slots).open(clip_of(), upscaler, interpolator)


def rendered(frames: Iterator[Frame], num_frames: int = 4) -> RenderedClip:
    return RenderedClip(frames, WIDTH, HEIGHT, FPS, num_frames, sound=RenderedSound(b"1234", 1, 16_000))


def test_the_clip_has_its_new_size_rate_and_number_of_frames_and_its_sound(opened):
    given = rendered(iter([FRAME] * 4))
    changed = opened.apply(given, NullObserver(), no_check)
    assert (changed.width, changed.height, changed.fps, changed.num_frames) == (64, 32, 16, 8)
    assert changed.sound is given.sound
    assert [len(frame) for frame in changed.frames] == [64 * 32 * 3] * 8


@pytest.mark.parametrize("count", [3, 5])
def test_another_number_of_frames_than_was_due_fails(opened, count):
    changed = opened.apply(rendered(iter([FRAME] * count)), NullObserver(), no_check)
    with pytest.raises(TaskFailed, match=r"4 frames were due, and 3 came|4 of 1536 were due") as failed:
        list(changed.frames)
    assert (failed.value.code, failed.value.stage) == (FailureCode.ENGINE_FAILED, Stage.POSTPROCESS)


def test_a_frame_of_another_size_fails(opened):
    changed = opened.apply(rendered(iter([FRAME[1:]] * 4)), NullObserver(), no_check)
    with pytest.raises(TaskFailed, match="frame 0 has 1535 bytes"):
        list(changed.frames)


def test_a_stop_ends_the_frames_after_the_one_that_is_made(opened):
    token, read = StopToken(), list[int]()

    def frames() -> Iterator[Frame]:
        for number in range(4):
            if number == 2:
                token.stop(StopReason.CANCEL)
            read.append(number)
            yield FRAME

    changed = opened.apply(rendered(frames()), NullObserver(token), token.check)
    with pytest.raises(RenderStopped):
        list(changed.frames)
    assert read == [0, 1, 2]


def test_the_memory_of_a_clip_does_not_grow_with_its_length(slots, upscaler, interpolator):
    """Counts who still refers to the frames that were read."""
    clip = clip_of(200)
    opened = PostprocessorModels(device="cpu", slots=slots).open(clip, upscaler, interpolator)
    held: list[bytes] = []
    most = 0

    def frames() -> Iterator[Frame]:
        for number in range(200):
            held.append(bytes([number % 250]) * len(FRAME))
            yield held[-1]

    for _ in opened.apply(rendered(frames(), 200), NullObserver(), no_check).frames:
        # One reference is the list, and one the argument of the call.
        most = max(most, sum(sys.getrefcount(held[number]) > 2 for number in range(len(held))))
    assert most <= 2
    assert len(held) == 200


class OnGpu(Upscaler):
    """Says that its session is on a GPU, which this machine may lack."""

    is_on_gpu = True  # pyright: ignore[reportAssignmentType]


def test_on_a_gpu_the_frames_are_made_in_a_slot_of_the_device(opened, upscaler, slots):
    on_gpu = replace(opened, upscaler=OnGpu(upscaler, device="cpu"))
    frames = on_gpu.apply(rendered(iter([FRAME] * 4)), NullObserver(), no_check).frames
    assert slots.in_use == 0
    next(frames)
    assert slots.in_use == 1
    list(frames)
    assert slots.in_use == 0


class LastChange:
    """Sees every frame in its final size, and whether the device had a slot for it."""

    def __init__(self, slots: DeviceSlots) -> None:
        self._slots = slots
        self.seen: list[tuple[tuple[int, ...], int, int]] = []

    def __call__(self, frames: Iterator[Pixels], fps: int) -> Iterator[Pixels]:
        for frame in frames:
            self.seen.append((frame.shape, fps, self._slots.in_use))
            yield 255 - frame


def test_the_last_change_sees_the_frames_of_the_file(opened, slots):
    last = LastChange(slots)
    changing = replace(opened, last=FrameChange(last, is_on_gpu=False))
    made = list(changing.apply(rendered(iter([FRAME] * 4)), NullObserver(), no_check).frames)
    assert last.seen == [((32, 64, 3), 16, 0)] * 8
    before = list(opened.apply(rendered(iter([FRAME] * 4)), NullObserver(), no_check).frames)
    assert made[0] == bytes(255 - level for level in before[0])


def test_all_models_of_a_clip_share_one_slot_of_a_gpu(opened, upscaler, slots):
    last = LastChange(slots)
    on_gpu = replace(opened, upscaler=OnGpu(upscaler, device="cpu"), last=FrameChange(last, is_on_gpu=True))
    list(on_gpu.apply(rendered(iter([FRAME] * 4)), NullObserver(), no_check).frames)
    assert {in_use for _, _, in_use in last.seen} == {1}
    assert slots.in_use == 0


def test_an_encoder_that_fails_gives_the_slot_back(opened, upscaler, slots):
    on_gpu = replace(opened, upscaler=OnGpu(upscaler, device="cpu"))
    frames = on_gpu.apply(rendered(iter([FRAME] * 4)), NullObserver(), no_check).frames
    with closing(cast("Any", frames)):
        next(frames)
    assert slots.in_use == 0


def test_on_a_cpu_the_frames_need_no_slot(opened, slots):
    with slots.acquire(StopToken()):
        assert len(list(opened.apply(rendered(iter([FRAME] * 4)), NullObserver(), no_check).frames)) == 8


def test_a_model_is_opened_once_until_its_file_is_replaced(slots, upscaler, interpolator, tmp_path):
    models = PostprocessorModels(device="cpu", slots=slots)
    first, again = (models.open(clip_of(), upscaler, interpolator) for _ in range(2))
    assert (first.upscaler, first.interpolator) == (again.upscaler, again.interpolator)
    (tmp_path / "x2.onnx").unlink()
    write_upscaler(tmp_path / "x2.onnx", blur=1)
    assert models.open(clip_of(), upscaler, interpolator).upscaler is not first.upscaler


def test_motion_estimation_is_left_to_the_encoder(slots):
    motion = InterpolatorSpec(id="motion", title="Motion")
    plain = clip_of().model_copy(update={"upscale": None, "interpolate": "motion"})
    given = rendered(iter([FRAME] * 4))
    assert (
        PostprocessorModels(device="cpu", slots=slots).open(plain, None, motion).apply(given, NullObserver(), no_check)
        is given
    )


def test_without_the_extra_a_clip_is_refused_with_the_remedy(slots, upscaler, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TaskFailed) as failed:
        PostprocessorModels(device="cpu", slots=slots).open(clip_of(), upscaler, None)
    assert (failed.value.code, failed.value.retriable) == (FailureCode.MODEL_UNAVAILABLE, True)
    assert "this worker lacks onnxruntime; run `pip install '.[postprocess]'`" in failed.value.detail
