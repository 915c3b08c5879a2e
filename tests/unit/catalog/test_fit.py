"""Which weights fit which device."""

import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.fit import Fit, MachineMemory, judge_fit

GIGABYTE = 1_000_000_000


def machine(*, free: float, budget: float, host: float) -> MachineMemory:
    return MachineMemory("a card", *(int(size * GIGABYTE) for size in (free, budget, host)))


@pytest.mark.parametrize(
    ("free", "budget", "host", "fit"),
    [
        (24, 21.6, 64, Fit.FITS),
        (10, 21.6, 64, Fit.BUSY),
        (12, 10.8, 64, Fit.OFFLOADED),
        (12, 10.8, 8, Fit.TOO_LARGE),
    ],
)
def test_weights_of_14_gigabytes_are_on_the_device_in_the_host_or_nowhere(free, budget, host, fit):
    model = load_catalog().get("wan-2.1-t2v-1.3b")
    assert judge_fit(model, machine(free=free, budget=budget, host=host)) is fit


def test_weights_of_unknown_size_may_fit():
    model = load_catalog().get("ltx-video").model_copy(update={"memory_bytes": None})
    assert judge_fit(model, machine(free=1, budget=1, host=1)) is Fit.UNKNOWN


def test_a_remote_model_needs_no_device():
    assert judge_fit(load_catalog().get("veo-3.1"), machine(free=0, budget=0, host=0)) is Fit.REMOTE
