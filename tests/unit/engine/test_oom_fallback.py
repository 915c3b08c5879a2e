"""The fallback levels after a call ran out of memory: their order, their end, and when they expire."""

import pytest

from fixtures.claims import ManualClock
from phoenix.catalog.model import load_catalog
from phoenix.engine.backends.diffusers.out_of_memory import (
    FALLBACK_TTL_S,
    ActiveFallbacks,
    FallbackLevel,
    model_at_level,
    next_level,
)

AUTO = load_catalog().get("ltx-video")


@pytest.mark.parametrize(
    ("level", "offload", "shared_device", "higher"),
    [
        (FallbackLevel.SHARED, "auto", True, FallbackLevel.EXCLUSIVE),
        (FallbackLevel.SHARED, "auto", False, FallbackLevel.MODEL_OFFLOAD),
        (FallbackLevel.EXCLUSIVE, "auto", False, FallbackLevel.MODEL_OFFLOAD),
        (FallbackLevel.MODEL_OFFLOAD, "auto", True, FallbackLevel.GROUP_OFFLOAD),
        (FallbackLevel.GROUP_OFFLOAD, "auto", True, None),
        (FallbackLevel.SHARED, "never", True, FallbackLevel.EXCLUSIVE),
        (FallbackLevel.SHARED, "never", False, None),
        (FallbackLevel.EXCLUSIVE, "never", True, None),
        (FallbackLevel.EXCLUSIVE, "model", True, None),
        (FallbackLevel.EXCLUSIVE, "group", True, None),
    ],
)
def test_each_level_has_the_expected_next_level(level, offload, shared_device, higher):
    model = AUTO.model_copy(update={"offload": offload})
    assert next_level(level, model, shared_device=shared_device) is higher


@pytest.mark.parametrize(
    ("level", "offload"), [(FallbackLevel.MODEL_OFFLOAD, "model"), (FallbackLevel.GROUP_OFFLOAD, "group")]
)
def test_a_model_is_offloaded_by_component_and_then_by_layer(level, offload):
    assert model_at_level(AUTO, FallbackLevel.EXCLUSIVE) is AUTO
    assert model_at_level(AUTO, level).offload == offload


def test_a_recorded_level_applies_until_it_expires():
    clock = ManualClock(0)
    fallbacks = ActiveFallbacks(clock)
    fallbacks.record("wan", FallbackLevel.MODEL_OFFLOAD)
    fallbacks.record("ltx", FallbackLevel.EXCLUSIVE)
    fallbacks.record("mochi", FallbackLevel.GROUP_OFFLOAD)
    fallbacks.record("mochi", FallbackLevel.MODEL_OFFLOAD)
    assert fallbacks.first_level("mochi") is FallbackLevel.GROUP_OFFLOAD
    assert [fallbacks.first_level(model_id) for model_id in ("wan", "ltx")] == [
        FallbackLevel.MODEL_OFFLOAD,
        FallbackLevel.SHARED,
    ]
    clock.now_s = FALLBACK_TTL_S - 1
    fallbacks.record("wan", FallbackLevel.GROUP_OFFLOAD)
    clock.now_s = 2 * FALLBACK_TTL_S - 2
    assert fallbacks.first_level("wan") is FallbackLevel.GROUP_OFFLOAD
    clock.now_s = 2 * FALLBACK_TTL_S
    assert fallbacks.first_level("wan") is FallbackLevel.SHARED
