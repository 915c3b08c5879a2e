"""The animatic engine: exact, deterministic, stoppable, and legible for any prompt."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageStat

from fixtures.renders import Recorder, digest, make_clip, stopping_at
from phoenix.catalog.catalog import load_catalog
from phoenix.contract import FaceRegion, ResolvedClipLips, ResolvedUpscale
from phoenix.engine.backends.animatic.engine import AnimaticEngine
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import Stage

MODEL = load_catalog().get("animatic")


def render(*, seconds_per_step: float = 0, observer=None, **changes):
    return AnimaticEngine(seconds_per_step=seconds_per_step).render(
        ClipInputs(make_clip(**changes), MODEL), observer or NullObserver()
    )


@pytest.mark.parametrize(("width", "height", "num_frames"), [(96, 54, 5), (54, 96, 1), (64, 64, 33), (320, 136, 2)])
def test_it_makes_exactly_the_requested_frames(width, height, num_frames):
    rendered = render(width=width, height=height, num_frames=num_frames)
    frames = list(rendered.frames)
    assert len(frames) == rendered.num_frames == num_frames
    assert {len(frame) for frame in frames} == {width * height * 3}


def test_the_same_clip_gives_the_same_bytes():
    assert digest(render()) == digest(render())


def test_the_seconds_per_step_do_not_change_the_picture():
    assert digest(render()) == digest(render(seconds_per_step=0.001))


@pytest.mark.parametrize("change", [{"seed": 8}, {"prompt": "a lighthouse in a storm"}, {"index": 1}])
def test_another_seed_prompt_or_clip_gives_another_picture(change):
    assert digest(render(width=160, height=96)) != digest(render(width=160, height=96, **change))


def test_the_picture_moves():
    first, *_, last = render(width=160, height=96, num_frames=24).frames
    assert first != last


LIPS = ResolvedClipLips(model="drawn-mouth", follows="audio", box=FaceRegion(x=40, y=16, width=64, height=48))


def test_a_clip_whose_lips_move_has_a_puppet_with_its_face_in_the_box():
    plain, shown = (
        np.frombuffer(next(render(width=160, height=96, lip_sync=lips).frames), np.uint8).reshape(96, 160, 3)
        for lips in (None, LIPS)
    )
    skin = shown[16 + 34, 46:50]
    assert (skin == skin[0]).all()
    assert (skin != plain[16 + 34, 46:50]).any()
    assert (shown[70:, :] == plain[70:, :]).all()
    assert (shown[:, :24] == plain[:, :24]).all()


def test_a_puppet_is_where_its_face_is_in_the_enlarged_file():
    larger = ResolvedUpscale(id="x2", scale=2, width=320, height=192)
    doubled = LIPS.model_copy(update={"box": FaceRegion(x=80, y=32, width=128, height=96)})
    enlarged = render(width=160, height=96, lip_sync=doubled, upscale=larger)
    assert digest(enlarged) == digest(render(width=160, height=96, lip_sync=LIPS))


def test_a_first_frame_dissolves_into_the_scene(tmp_path):
    Image.new("RGB", (160, 96), (200, 40, 40)).save(tmp_path / "red.png")
    clip = make_clip(width=160, height=96, num_frames=24)
    begun = ClipInputs(clip, MODEL, (ConditionFile("first_frame", tmp_path / "red.png"),))

    frames = list(AnimaticEngine().render(begun, NullObserver()).frames)

    plain = list(render(width=160, height=96, num_frames=24).frames)
    # Below is the line that shows the position in the clip.
    assert Image.frombytes("RGB", (160, 96), frames[0]).crop((0, 0, 160, 90)).getcolors() == [(160 * 90, (200, 40, 40))]
    assert frames[6] != plain[6]
    assert frames[12:] == plain[12:]


def test_every_step_is_reported_between_the_stages():
    recorder = Recorder()
    render(observer=recorder, steps=4)
    assert recorder.stages == [Stage.DENOISE, Stage.DECODE]
    assert recorder.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_clip_takes_the_seconds_per_step_for_each_step():
    started_s = time.monotonic()
    render(steps=3, seconds_per_step=0.02)
    assert time.monotonic() - started_s >= 0.06


def test_a_stop_ends_the_wait_of_a_step_at_once():
    recorder = Recorder()
    threading.Timer(0.03, recorder.stop.stop, (StopReason.CANCEL,)).start()
    started_s = time.monotonic()
    with pytest.raises(RenderStopped):
        render(observer=recorder, seconds_per_step=60)
    assert time.monotonic() - started_s < 30
    assert recorder.steps == []


def test_a_stop_at_a_step_draws_nothing():
    recorder = stopping_at(2)
    with pytest.raises(RenderStopped):
        render(observer=recorder, steps=5)
    assert recorder.stages == [Stage.DENOISE]


def test_a_stop_while_frames_are_read_ends_them():
    recorder = Recorder()
    frames = render(observer=recorder).frames
    next(frames)
    recorder.stop.stop(StopReason.LOST)
    with pytest.raises(RenderStopped):
        next(frames)


@pytest.mark.parametrize(
    "prompt",
    [
        "x",
        "word " * 800,
        "w" * 4000,
        "東京の夜 🎈 नमस्ते שלום",
        "first line\nsecond\tline\r\x00\x07\u200b",
        "\ud800 lone surrogate",
        "\x00\x01",
        "é" * 300,
    ],
)
def test_any_prompt_can_be_drawn(prompt):
    assert len(list(render(prompt=prompt, num_frames=2, width=160, height=90).frames)) == 2


@settings(max_examples=25, deadline=None)
@given(prompt=st.text(min_size=1, max_size=200), seed=st.integers(0, 2**32 - 1))
def test_no_prompt_and_seed_crash_the_painter(prompt, seed):
    (frame,) = render(prompt=prompt, seed=seed, num_frames=1).frames
    assert len(frame) == 64 * 64 * 3


def test_the_prompt_is_written_on_the_picture_in_white():
    (frame,) = render(prompt="WWWWWW WWWWWW", num_frames=1, width=480, height=270).frames
    foot = Image.frombytes("RGB", (480, 270), frame).crop((20, 200, 460, 258)).convert("L")
    assert ImageStat.Stat(foot).extrema[0][1] > 240


def test_it_has_no_model_in_memory_and_closes():
    engine = AnimaticEngine()
    engine.close()
    assert engine.loaded_models() == ("animatic",)
