"""Whether the weights of a model fit a device. Pure."""

from dataclasses import dataclass
from enum import Enum

from phoenix.catalog.model import ModelSpec

WEIGHTS_SHARE = 0.9
"""Share of the memory of a device for weights, if the settings have no budget. The rest is for activations."""


class Fit(Enum):
    """How a model can run on a machine, by the memory of its weights alone."""

    FITS = "yes"
    BUSY = "when memory is free"
    """On the device, once other processes there free memory."""
    OFFLOADED = "with offload"
    """With `offload = "model"` or `"group"`: weights in the memory of the host, and in part on the device."""
    TOO_LARGE = "no"
    UNKNOWN = "unknown"
    """The entry does not say what its weights need."""
    REMOTE = "-"
    """It has no weights here."""


@dataclass(frozen=True)
class MachineMemory:
    """The memory that weights can use. A machine without a GPU computes in the memory of its host."""

    name: str
    free_bytes: int
    budget_bytes: int
    """For the weights of all models on the device together."""
    host_bytes: int


def judge_fit(model: ModelSpec, machine: MachineMemory) -> Fit:
    """How `model` fits the machine. Says nothing about the memory of a clip, which depends on its size and length."""
    if model.engine != "diffusers":
        return Fit.REMOTE
    if model.memory_bytes is None:
        return Fit.UNKNOWN
    if model.memory_bytes <= machine.budget_bytes:
        return Fit.FITS if model.memory_bytes <= machine.free_bytes else Fit.BUSY
    if model.parallelism is not None:
        return Fit.TOO_LARGE
    return Fit.OFFLOADED if model.memory_bytes <= machine.host_bytes else Fit.TOO_LARGE
