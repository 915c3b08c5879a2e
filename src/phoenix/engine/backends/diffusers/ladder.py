"""What to try after a call ran out of memory: the device to itself, then weights that come and go. Pure."""

from enum import IntEnum

from phoenix.catalog.model import ModelSpec


class Rung(IntEnum):
    """How a call is run. The decode has a ladder of its own, below these: see `decoding`."""

    BESIDE = 0
    """Beside other calls and models, as far as their memory is known to fit."""
    ALONE = 1
    """No other call runs, and no other model is in memory."""
    OFFLOADED = 2
    """And the weights lie in the machine's memory while they are not at work: slow, but it fits."""


def next_rung(rung: Rung, model: ModelSpec, *, had_company: bool) -> Rung | None:
    """None: there is nothing left to try. Without company there was nobody to send away."""
    if rung is Rung.BESIDE and had_company:
        return Rung.ALONE
    if rung is not Rung.OFFLOADED and model.offload == "auto":
        return Rung.OFFLOADED
    return None


def on_rung(model: ModelSpec, rung: Rung) -> ModelSpec:
    """The model as it is to be loaded there."""
    return model.model_copy(update={"offload": "model"}) if rung is Rung.OFFLOADED else model
