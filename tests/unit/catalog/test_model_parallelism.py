"""What an entry says about several devices for one clip."""

import pytest
from pydantic import ValidationError

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.fit import Fit, MachineMemory, judge_fit
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.stored_entries import store_entry
from phoenix.catalog.tuning import Parallelism

WAN = load_catalog().get("wan-2.1-t2v-1.3b")
TWO = {"context": 2}


def changed(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate(WAN.model_dump() | {"tiers": {}} | fields)


@pytest.mark.parametrize(
    ("parallelism", "devices"),
    [(None, 1), ("auto", 1), (TWO, 2), ({"guidance": True}, 2), ({"context": 4, "guidance": True}, 8)],
)
def test_an_entry_needs_the_devices_of_both_kinds_together(parallelism, devices):
    assert changed(parallelism=parallelism).devices == devices


def test_a_model_on_several_devices_makes_one_call_at_a_time():
    assert changed(parallelism=TWO, concurrency=3).max_concurrency == 1


def test_weights_that_are_divided_are_never_offloaded():
    assert changed().may_offload
    assert not changed(parallelism=TWO).may_offload


def test_a_model_on_several_devices_that_is_too_large_does_not_fit_with_offload():
    card = MachineMemory("a card", free_bytes=10, budget_bytes=10, host_bytes=100)
    assert judge_fit(changed(memory_bytes=50), card) is Fit.OFFLOADED
    assert judge_fit(changed(memory_bytes=50, parallelism=TWO), card) is Fit.TOO_LARGE


def test_a_stored_request_can_be_rendered_on_another_number_of_devices():
    assert store_entry(changed(parallelism=TWO)) == store_entry(changed())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"parallelism": {}}, "it has one device, which changes nothing: set context, or guidance = true"),
        ({"parallelism": {"context": 0}}, "greater than or equal to 1"),
        ({"parallelism": {"guidance": True, "method": "ring"}}, "method has no effect without context"),
        ({"parallelism": TWO, "offload": "model"}, "parallelism with offload model: weights that move"),
        ({"parallelism": "auto", "offload": "group"}, "parallelism with offload group"),
        ({"parallelism": TWO, "step_cache": {"kind": "first_block"}}, "each device would skip other steps"),
        (
            {"parallelism": TWO, "tiers": {"draft": {"step_cache": {"kind": "first_block"}}}},
            "tiers.draft: parallelism with step_cache",
        ),
        (
            {"parallelism": {"guidance": True}, "guidance_scale": {"minimum": 1, "maximum": 1, "default": 1}},
            "parallelism.guidance: guidance_scale is 1 at most",
        ),
        (
            {"parallelism": TWO, "attention": "xformers"},
            "parallelism.context by ulysses needs another attention than xformers: auto, native",
        ),
        (
            {"parallelism": {"context": 2, "method": "ring"}},
            "parallelism.context by ring needs another attention than native: _native_cudnn",
        ),
        ({"parallelism": TWO, "engine": "animatic"}, "parallelism has no effect on the engine animatic"),
        ({"context_parallel": {"ring_degree": 2}}, "context_parallel is refused: set parallelism, such as"),
        ({"cfg_parallel": True}, "guidance = true"),
        ({"tensor_parallel": 2}, "tensor_parallel is refused: Phoenix divides clips between devices"),
    ],
)
def test_devices_that_could_not_act_together_are_refused_with_the_reason(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        changed(**changes)


@pytest.mark.parametrize("attention", ["native", "_native_cudnn", "auto"])
def test_an_exact_kernel_can_divide_the_heads(attention):
    assert changed(parallelism=TWO, attention=attention).parallelism == Parallelism(context=2)
