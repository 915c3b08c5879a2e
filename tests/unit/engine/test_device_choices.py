"""What is chosen for an entry that leaves fields to its device, as a table."""

from dataclasses import replace

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.choosing.choices import Card, WeightTotals, decide

GB = 1_000_000_000
WAN = load_catalog().get("wan-2.1-t2v-14b")

CPU = Card("the CPU", 20 * GB, is_gpu=False)
AMPERE = Card("an A10", 21 * GB, capability=(8, 6), has_compiler=True)
HOPPER = Card("an H200", 130 * GB, capability=(9, 0), has_compiler=True)
BLACKWELL = Card("a B200", 160 * GB, capability=(10, 0), has_compiler=True)
TURING = Card("a T4", 14 * GB, capability=(7, 5), has_compiler=True)
AMD = Card("an MI300X", 170 * GB, has_compiler=True)

TOTALS = WeightTotals(40 * GB, (26 * GB, 20 * GB))


def entry(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate(WAN.model_dump() | fields)


@pytest.mark.parametrize(
    ("card", "attention", "is_compiled"),
    [
        (CPU, "native", False),
        (TURING, "native", False),
        (AMPERE, "native", True),
        (replace(AMPERE, has_compiler=False), "native", False),
        (HOPPER, "_native_cudnn", True),
        (BLACKWELL, "_native_cudnn", True),
        (AMD, "native", False),
    ],
    ids=lambda value: value.name if isinstance(value, Card) else str(value),
)
def test_attention_and_compiled_blocks_follow_the_capability_of_the_card(card, attention, is_compiled):
    model, choices = decide(entry(attention="auto", compile_blocks="auto"), card, TOTALS)
    assert (model.attention, model.compile_blocks) == (attention, is_compiled)
    assert [choice.field for choice in choices] == ["attention", "compile_blocks"]


@pytest.mark.parametrize(
    ("budget_gb", "totals", "components", "reason"),
    [
        (41, TOTALS, None, "40.0 GB of 41.0 GB for weights on a card"),
        (30, TOTALS, ("denoisers",), "26.0 GB instead of 40.0 GB of 30.0 GB"),
        (21, TOTALS, ("denoisers", "text_encoders"), "20.0 GB instead of 40.0 GB"),
        (19, TOTALS, None, "8 bits would not fit either: they are offloaded"),
        (30, WeightTotals(40 * GB, (None, None)), None, "8 bits would not fit either"),
        (30, WeightTotals(None), None, "the size of the weights is unknown here"),
    ],
)
def test_weights_are_quantised_only_as_far_as_they_have_to_be(budget_gb, totals, components, reason):
    card = Card("a card", budget_gb * GB, capability=(8, 0))
    model, (choice,) = decide(entry(quantization="auto"), card, totals)
    assert (None if model.quantization is None else model.quantization.components) == components  # type: ignore[union-attr]
    assert reason in choice.reason


def test_weights_of_a_cpu_stay_as_they_are():
    model, (choice,) = decide(entry(quantization="auto"), replace(CPU, budget_bytes=1), TOTALS)
    assert (model.quantization, choice.reason) == (None, "the CPU is no GPU")


@pytest.mark.parametrize("offload", ["model", "group"])
def test_blocks_whose_weights_move_are_not_compiled(offload):
    model, (choice,) = decide(entry(compile_blocks="auto", offload=offload), HOPPER, TOTALS)
    assert (model.compile_blocks, offload in choice.reason) == (False, True)


def test_what_an_entry_decides_is_left_as_it_is():
    decided = entry(attention="sage", compile_blocks=True, quantization={"kind": "float8"})
    assert decide(decided, TURING, TOTALS) == (decided, ())


def test_a_decided_entry_leaves_nothing_to_the_device():
    open_entry = entry(attention="auto", compile_blocks="auto", quantization="auto")
    assert not open_entry.is_decided
    for card in (CPU, HOPPER, AMD):
        model, choices = decide(open_entry, card, TOTALS)
        assert (model.is_decided, len(choices)) == (True, 3)
