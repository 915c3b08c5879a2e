"""The fallback levels after a call ran out of memory: their order, their end, and when they expire."""

from dataclasses import replace

import pytest

from fixtures.claims import ManualClock
from fixtures.renders import make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.backends.diffusers.out_of_memory import (
    FALLBACK_TTL_S,
    ActiveFallbacks,
    BatchFailures,
    FallbackLevel,
    Recovery,
    level_that_fits,
    model_at_level,
    next_level,
    plan_recovery,
)
from phoenix.engine.backends.diffusers.weight_sizes import WeightSizes
from phoenix.engine.interface import ProcessUnfit
from phoenix.engine.memory_profile import call_shape
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


def expired(clock: ManualClock, **needed: int) -> ActiveFallbacks:
    fallbacks = ActiveFallbacks(clock)
    fallbacks.record("wan", FallbackLevel.GROUP_OFFLOAD, **needed)
    clock.now_s += FALLBACK_TTL_S
    return fallbacks


@pytest.mark.parametrize(
    ("usable_bytes", "clip_size", "level"),
    [
        (100, 50, FallbackLevel.GROUP_OFFLOAD),
        (104, None, FallbackLevel.GROUP_OFFLOAD),
        (106, 50, FallbackLevel.SHARED),
        (100, 49, FallbackLevel.SHARED),
        (None, 50, FallbackLevel.SHARED),
    ],
)
def test_an_expired_level_is_left_only_with_more_memory_or_for_a_smaller_clip(usable_bytes, clip_size, level):
    fallbacks = expired(ManualClock(0), usable_bytes=100, clip_size=50)
    assert fallbacks.first_level("wan", usable_bytes=usable_bytes, clip_size=clip_size) is level


def test_a_level_that_is_needed_again_applies_to_smaller_clips_for_as_long_again():
    clock = ManualClock(0)
    fallbacks = expired(clock, usable_bytes=100, clip_size=50)
    fallbacks.first_level("wan", usable_bytes=100, clip_size=50)
    clock.now_s += FALLBACK_TTL_S - 1
    assert fallbacks.first_level("wan", usable_bytes=100, clip_size=1) is FallbackLevel.GROUP_OFFLOAD


@pytest.mark.parametrize(
    ("usable_bytes", "level"),
    [
        (100, FallbackLevel.SHARED),
        (99, FallbackLevel.MODEL_OFFLOAD),
        (70, FallbackLevel.MODEL_OFFLOAD),
        (60, FallbackLevel.GROUP_OFFLOAD),
    ],
)
def test_the_first_level_holds_the_weights_and_leaves_room_for_a_clip(usable_bytes, level):
    sizes = WeightSizes({"transformer": 60, "text_encoder": 30}, pinned_bytes=96)
    assert level_that_fits(sizes, usable_bytes) is level


SHAPE = call_shape(make_clip(), AUTO, 3, device="cpu")


def test_after_two_failed_batches_none_of_that_shape_is_tried_of_any_size():
    failures = BatchFailures()
    failures.record(SHAPE, is_lasting=False)
    assert not failures.forbid(SHAPE)
    failures.record(SHAPE, is_lasting=False)
    assert failures.forbid(replace(SHAPE, batch_size=2))
    assert not failures.forbid(replace(SHAPE, width=SHAPE.width * 2))


def test_after_an_error_of_the_class_no_batch_of_the_model_is_tried():
    failures = BatchFailures()
    failures.record(SHAPE, is_lasting=True)
    assert failures.forbid(replace(SHAPE, width=SHAPE.width * 2))
    assert not failures.forbid(replace(SHAPE, model_id="other"))


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
