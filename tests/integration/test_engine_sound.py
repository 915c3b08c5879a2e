"""Sound of pipelines that make it: each clip has its own, in a batch, after a stop, and after a lack of memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.engine_clips import furthest, pixels, requests_of, run_out_of_memory, trio
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, make_clip, stopping_at
from fixtures.talking_model import samples_of, talking_model, write_talking_catalog
from fixtures.video_classes.ltx import RATE_HZ
from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import ClipInputs, NullObserver, RenderedClip, RenderRequest
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import Stage, TaskFailed

CLIP = {"steps": 1, "guidance_scale": 1.0}
TOLERANCE = 1e-3
"""Of 1. A batch differs from single calls by rounding; the sounds of two seeds differ by 0.1 and more."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return talking_model(write_talking_catalog(tmp_path_factory.mktemp("talking")))


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenEngine]:
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone(engine: OpenEngine, model: ModelSpec) -> list[RenderedClip]:
    """Each clip of the trio by itself."""
    return [engine.render(inputs, NullObserver()) for inputs in trio(model, **CLIP)]


def is_alike(one: RenderedClip, other: RenderedClip) -> bool:
    return bool(np.abs(samples_of(one) - samples_of(other)).max() <= TOLERANCE)


def render_three(engine: OpenEngine, model: ModelSpec, recorders: list[Recorder] | None = None) -> list[RenderRequest]:
    requests = requests_of(trio(model, **CLIP), recorders)
    engine.render_batch(requests)
    return requests


def test_a_clip_has_its_sound_with_its_rate_and_nearly_its_length(alone: list[RenderedClip]) -> None:
    sound = alone[0].sound
    assert sound is not None
    assert (sound.channels, sound.rate_hz) == (2, RATE_HZ)
    assert len(samples_of(alone[0])) / RATE_HZ == pytest.approx(9 / 8, abs=0.06)
    assert not is_alike(alone[0], alone[1])


def test_each_clip_of_a_batch_has_the_sound_that_it_has_alone(
    engine: OpenEngine, model: ModelSpec, alone: list[RenderedClip]
) -> None:
    made = [request.result() for request in render_three(engine, model)]
    assert [rendered.batch_size for rendered in made] == [3, 3, 3]
    assert all(map(is_alike, made, alone))


def test_a_clip_that_is_stopped_before_its_decode_leaves_the_others_their_own_sound(
    engine: OpenEngine, model: ModelSpec, alone: list[RenderedClip]
) -> None:
    first, *others = render_three(engine, model, [stopping_at(Stage.DECODE), Recorder(), Recorder()])
    with pytest.raises(RenderStopped):
        first.result()
    assert all(map(is_alike, [request.result() for request in others], alone[1:]))


def test_a_call_that_runs_out_of_memory_is_repeated_in_halves_with_sound(
    engine: OpenEngine, model: ModelSpec, alone: list[RenderedClip]
) -> None:
    vocoder = engine.loads[-1].pipeline.vocoder

    def refuse_batches(_module: Any, inputs: Any) -> None:
        if inputs[0].shape[0] > 1:
            run_out_of_memory()

    handle = vocoder.register_forward_pre_hook(refuse_batches)
    made = [request.result() for request in render_three(engine, model)]
    handle.remove()
    assert [rendered.batch_size for rendered in made] == [1, 1, 1]
    assert all(map(is_alike, made, alone))


def test_a_clip_that_keeps_no_sound_has_the_same_frames_without_it(engine: OpenEngine, model: ModelSpec) -> None:
    kept, dropped = (
        engine.render(ClipInputs(make_clip(keeps_sound=keeps, **CLIP), model), NullObserver())
        for keeps in (True, False)
    )
    assert kept.sound is not None
    assert dropped.sound is None
    assert furthest(pixels(kept), pixels(dropped)) == 0


def test_sound_of_values_that_are_not_numbers_fails_its_clip(engine: OpenEngine, model: ModelSpec) -> None:
    handle = engine.loads[-1].pipeline.vocoder.register_forward_hook(
        lambda _module, _inputs, made: torch.full_like(made, torch.nan)
    )
    with pytest.raises(TaskFailed, match="made sound of values that are not numbers"):
        engine.render(ClipInputs(make_clip(**CLIP), model), NullObserver())
    handle.remove()


def test_an_entry_that_says_that_it_makes_sound_is_refused_at_load_if_its_class_makes_none(
    engine: OpenEngine, tiny_wan: ModelSpec, tmp_path: Path
) -> None:
    recorder = Recorder()
    with pytest.raises(TaskFailed, match="WanPipeline makes none; leave makes_sound out"):
        engine.render(ClipInputs(make_clip(), tiny_wan.model_copy(update={"makes_sound": True})), recorder)
    assert recorder.steps == []
