"""What is tried after a shortage, in which order, and when there is nothing left to try."""

import pytest

from phoenix.catalog.load import load_catalog
from phoenix.engine.backends.diffusers.ladder import Rung, next_rung, on_rung

AUTO = load_catalog().get("ltx-video")


@pytest.mark.parametrize(
    ("rung", "offload", "had_company", "higher"),
    [
        (Rung.BESIDE, "auto", True, Rung.ALONE),
        (Rung.BESIDE, "auto", False, Rung.OFFLOADED),
        (Rung.ALONE, "auto", False, Rung.OFFLOADED),
        (Rung.OFFLOADED, "auto", True, None),
        (Rung.BESIDE, "never", True, Rung.ALONE),
        (Rung.BESIDE, "never", False, None),
        (Rung.ALONE, "never", True, None),
        (Rung.ALONE, "group", True, None),
    ],
)
def test_each_shortage_is_answered_once(rung, offload, had_company, higher):
    model = AUTO.model_copy(update={"offload": offload})
    assert next_rung(rung, model, had_company=had_company) is higher


def test_a_model_is_offloaded_only_on_the_last_rung():
    assert on_rung(AUTO, Rung.ALONE) is AUTO
    assert on_rung(AUTO, Rung.OFFLOADED).offload == "model"
