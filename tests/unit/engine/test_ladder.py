"""What is tried after a shortage, in which order, when there is nothing left to try, and when it is forgotten."""

import pytest

from fixtures.claims import HandTurnedClock
from phoenix.catalog.load import load_catalog
from phoenix.engine.backends.diffusers.oom_fallback import RETURN_AFTER_S, Climbs, Rung, next_rung, on_rung

AUTO = load_catalog().get("ltx-video")


@pytest.mark.parametrize(
    ("rung", "offload", "had_company", "higher"),
    [
        (Rung.BESIDE, "auto", True, Rung.ALONE),
        (Rung.BESIDE, "auto", False, Rung.OFFLOADED),
        (Rung.ALONE, "auto", False, Rung.OFFLOADED),
        (Rung.OFFLOADED, "auto", True, Rung.GROUPED),
        (Rung.GROUPED, "auto", True, None),
        (Rung.BESIDE, "never", True, Rung.ALONE),
        (Rung.BESIDE, "never", False, None),
        (Rung.ALONE, "never", True, None),
        (Rung.ALONE, "model", True, None),
        (Rung.ALONE, "group", True, None),
    ],
)
def test_each_shortage_is_answered_once(rung, offload, had_company, higher):
    model = AUTO.model_copy(update={"offload": offload})
    assert next_rung(rung, model, had_company=had_company) is higher


@pytest.mark.parametrize(("rung", "offload"), [(Rung.OFFLOADED, "model"), (Rung.GROUPED, "group")])
def test_a_model_is_offloaded_by_component_and_at_last_by_layer(rung, offload):
    assert on_rung(AUTO, Rung.ALONE) is AUTO
    assert on_rung(AUTO, rung).offload == offload


def test_a_model_that_was_offloaded_stays_so_for_a_while_and_then_tries_the_device_again():
    clock = HandTurnedClock(0)
    climbs = Climbs(clock)
    climbs.record("wan", Rung.OFFLOADED)
    climbs.record("ltx", Rung.ALONE)
    climbs.record("mochi", Rung.GROUPED)
    climbs.record("mochi", Rung.OFFLOADED)
    assert climbs.first_rung("mochi") is Rung.GROUPED
    assert [climbs.first_rung(model_id) for model_id in ("wan", "ltx")] == [Rung.OFFLOADED, Rung.BESIDE]
    clock.now_s = RETURN_AFTER_S - 1
    climbs.record("wan", Rung.GROUPED)
    clock.now_s = 2 * RETURN_AFTER_S - 2
    assert climbs.first_rung("wan") is Rung.GROUPED
    clock.now_s = 2 * RETURN_AFTER_S
    assert climbs.first_rung("wan") is Rung.BESIDE
