"""Prompts that an encoder of the model does not read to their end: the clip says so, for each encoder and prompt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.engine_clips import requests_of
from fixtures.renders import make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.contract import ClipWarning, ResolvedClip
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.interface import ClipInputs

LIMIT = 32
"""The `max_sequence_length` of the tiny models. Each word below is one token of a T5, and the end is one more."""


def words(count: int, word: str = "cat") -> str:
    return " ".join([word] * count)


@pytest.fixture(scope="module")
def engine() -> Iterator[DiffusersEngine]:
    engine = DiffusersEngine(device="cpu")
    yield engine
    engine.close()


def warnings_of(engine: DiffusersEngine, model: ModelSpec, *clips: ResolvedClip) -> list[tuple[ClipWarning, ...]]:
    """The warnings of each of the clips of one call."""
    requests = requests_of([ClipInputs(clip.model_copy(update={"steps": 1}), model) for clip in clips])
    engine.render_batch(requests)
    return [request.result().warnings for request in requests]


def cuts(engine: DiffusersEngine, model: ModelSpec, **clip: Any) -> list[tuple[str, int, int]]:
    [warnings] = warnings_of(engine, model, make_clip(**clip))
    return [(warning.encoder, warning.tokens, warning.limit) for warning in warnings]


@pytest.fixture
def tiny_hunyuan(tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec("hunyuan", tiny_pipelines("hunyuan"), tmp_path)


def test_a_prompt_over_the_limit_is_reported_with_count_limit_and_encoder(engine, tiny_wan):
    [[warning]] = warnings_of(engine, tiny_wan, make_clip(prompt=words(40)))
    message = "The prompt has 41 tokens for text_encoder, which reads 32: the rest was cut."
    expected = {"code": "PROMPT_CUT", "message": message, "encoder": "text_encoder", "tokens": 41, "limit": LIMIT}
    assert warning.model_dump() == expected


def test_a_prompt_at_the_limit_is_not_reported_and_one_word_more_is(engine, tiny_wan):
    assert cuts(engine, tiny_wan, prompt=words(31)) == []
    assert cuts(engine, tiny_wan, prompt=words(32)) == [("text_encoder", 33, LIMIT)]


def test_the_limit_is_the_one_of_the_catalog_entry(engine, tiny_wan):
    wider = tiny_wan.model_copy(update={"options": {"max_sequence_length": 64}})
    assert cuts(engine, wider, prompt=words(40)) == []


def test_each_encoder_has_a_count_and_a_limit_of_its_own(engine, tiny_hunyuan):
    """Its CLIP makes three tokens of the word, and reads 77 tokens whatever the catalog entry says."""
    assert cuts(engine, tiny_hunyuan, prompt=words(25)) == []
    assert cuts(engine, tiny_hunyuan, prompt=words(30)) == [("text_encoder_2", 92, 77)]
    assert cuts(engine, tiny_hunyuan, prompt=words(40)) == [("text_encoder", 40, LIMIT), ("text_encoder_2", 122, 77)]


def test_the_template_of_the_model_counts_on_both_sides(engine, tiny_hunyuan):
    template = {"prompt_template": "a cat {}", "prompt_crop_start": 2}
    described = tiny_hunyuan.model_copy(update={"options": {**tiny_hunyuan.options, **template}})
    assert cuts(engine, described, prompt=words(40))[0] == ("text_encoder", 42, LIMIT + 2)


def test_a_negative_prompt_is_reported_as_such(engine, tiny_wan):
    clip = make_clip(prompt="a red fox", negative_prompt=words(40, "blurry"))
    [[warning]] = warnings_of(engine, tiny_wan, clip)
    assert warning.message == "The negative prompt has 41 tokens for text_encoder, which reads 32: the rest was cut."


def test_a_negative_prompt_that_the_model_does_not_read_is_not_reported(engine, tiny_wan):
    assert cuts(engine, tiny_wan, negative_prompt=words(40), guidance_scale=1.0) == []


def test_a_negative_prompt_that_the_pipeline_cleans_is_told_from_the_prompt(engine, tiny_wan):
    negative = "fox &amp;amp;  " + words(40, "blurry")
    clip = make_clip(prompt="fox & " + words(40), negative_prompt=negative)
    [[first, second]] = warnings_of(engine, tiny_wan, clip)
    assert (first.message[:10], second.message[:19]) == ("The prompt", "The negative prompt")


def test_a_clip_of_a_batch_has_only_its_own_warnings(engine, tiny_wan):
    clips = [
        make_clip(index=0, prompt=words(40)),
        make_clip(index=1, prompt="a red fox"),
        make_clip(index=2, prompt="a red fox", negative_prompt=words(50, "blurry")),
    ]
    found = warnings_of(engine, tiny_wan, *clips)
    assert [[warning.tokens for warning in warnings] for warnings in found] == [[41], [], [51]]
