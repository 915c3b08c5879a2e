"""Entries that leave fields to their device, on a real pipeline: what a load tries, and what a worker renders with."""

import pytest

from fixtures.log_lines import lines_about
from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.choosing.choices import CANDIDATES, Card
from phoenix.engine.backends.diffusers.choosing.chooser import Chooser, choose, weight_totals
from phoenix.engine.interface import ClipInputs, NullObserver

HOPPER = Card("an H200", 10**12, capability=(9, 0), has_compiler=True)


@pytest.fixture
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture
def open_wan(tiny_wan: ModelSpec) -> ModelSpec:
    fields = {"attention": "auto", "compile_blocks": "auto", "quantization": "auto"}
    return ModelSpec.model_validate(tiny_wan.model_dump() | fields)


def test_on_a_cpu_an_open_entry_renders_as_one_without_settings(engine, tiny_wan, open_wan):
    plain, chosen = (
        digest(engine.render(ClipInputs(make_clip(), model), NullObserver())) for model in (tiny_wan, open_wan)
    )
    assert chosen == plain
    assert len(engine.loads) == 1


def test_a_load_before_its_turn_is_the_one_that_the_call_uses(engine, open_wan):
    with engine.preload(open_wan, NullObserver().stop):
        engine.render(ClipInputs(make_clip(), open_wan), NullObserver())
    assert len(engine.loads) == 1


def test_a_kernel_that_cannot_act_here_is_left_to_torch_and_the_log_says_why(open_wan, log_lines):
    """cuDNN's attention was chosen for a card, and this device is a CPU."""
    model = open_wan.model_copy(update={"compile_blocks": False, "quantization": None})
    assert Chooser(HOPPER, "cpu").decide(model).attention == "native"
    (line,) = lines_about(log_lines, "chosen for this device")
    assert (line["field"], line["value"]) == ("attention", "native")
    assert line["reason"].startswith("_native_cudnn cannot act: ")


def test_a_choice_is_made_once(open_wan, log_lines):
    chooser = Chooser(HOPPER, "cpu")
    assert chooser.decide(open_wan) is chooser.decide(open_wan)
    assert len(lines_about(log_lines, "chosen for this device")) == 3


def test_the_sizes_of_the_files_decide_how_far_weights_are_quantised(open_wan):
    totals = weight_totals(open_wan)
    sizes = [totals.plain_bytes, *totals.candidate_bytes]
    assert sizes == sorted(sizes, reverse=True)  # type: ignore[type-var]
    for candidate, size_bytes in zip((None, *CANDIDATES), sizes, strict=True):
        decided, _ = choose(open_wan, Card("a card", size_bytes, capability=(8, 0)))
        assert decided.quantization == candidate


def test_a_quantised_entry_expects_the_memory_of_its_quantised_weights(tiny_wan):
    plain = tiny_wan.model_copy(update={"memory_bytes": 10**12})
    quantised, _ = choose(plain.model_copy(update={"quantization": CANDIDATES[0]}), HOPPER)
    assert quantised.memory_bytes == weight_totals(quantised).plain_bytes != plain.memory_bytes
    assert choose(plain, HOPPER) == (plain, ())
