"""The fallback levels after a call ran out of memory: their order, their end, and when they expire."""

import pytest

from fixtures.claims import ManualClock
from phoenix.catalog.model import load_catalog
from phoenix.engine.backends.diffusers.out_of_memory import (
    FALLBACK_TTL_S,
    ActiveFallbacks,
    FallbackLevel,
    Recovery,
    model_at_level,
    next_level,
    plan_recovery,
)
from phoenix.engine.interface import ProcessUnfit
from phoenix.errors import FailureCode, Stage, TaskFailed

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


SHORTAGE = TaskFailed(FailureCode.GPU_OOM, "the device ran out of memory", stage=Stage.DENOISE, retriable=True)
FAULT = TaskFailed(FailureCode.ENGINE_FAILED, "ValueError: odd", stage=Stage.DENOISE)
LATE = TaskFailed(FailureCode.TIMEOUT, "no slot was free", stage=Stage.QUEUE, retriable=True)
UNFIT = ProcessUnfit(FailureCode.ENGINE_FAILED, "device-side assert", stage=Stage.DENOISE, retriable=True)


@pytest.mark.parametrize("failed", [SHORTAGE, FAULT])
def test_the_clips_of_a_failed_call_are_rendered_again_in_smaller_calls(failed):
    assert plan_recovery(failed, 2, FallbackLevel.EXCLUSIVE) is Recovery.SPLIT


@pytest.mark.parametrize("failed", [LATE, UNFIT])
def test_an_error_that_smaller_calls_would_meet_too_fails_every_clip(failed):
    assert plan_recovery(failed, 2, FallbackLevel.EXCLUSIVE) is Recovery.FAIL


def test_a_single_clip_that_is_short_of_memory_falls_back():
    assert plan_recovery(SHORTAGE, 1, FallbackLevel.EXCLUSIVE) is Recovery.FALL_BACK


def test_a_single_clip_that_is_short_of_memory_at_the_last_level_fails():
    assert plan_recovery(SHORTAGE, 1, None) is Recovery.FAIL


def test_a_single_clip_with_another_error_does_not_fall_back():
    assert plan_recovery(FAULT, 1, FallbackLevel.EXCLUSIVE) is Recovery.FAIL
