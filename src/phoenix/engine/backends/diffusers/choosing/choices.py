"""Decides what an entry leaves to the device (`auto`): attention, compiled blocks, quantisation, and several devices.

Only the last reads files: what the folder of the model says of its denoisers.
"""

from dataclasses import dataclass

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import AttentionName, Quantization
from phoenix.engine.backends.diffusers.device_group.plan import choose_parallelism

FUSED_ATTENTION = (9, 0)
"""The capability from which `auto` takes the attention of cuDNN.

The notes of torch 2.5 call it faster on Hopper. It was not measured here.
"""

COMPILED = (8, 0)
"""The capability from which the code that Triton generates is worth its compilation: Ampere and later."""

CANDIDATES = (
    Quantization(kind="int8"),
    Quantization(kind="int8", components=("denoisers", "text_encoders")),
)
"""What `auto` may choose, the most exact first."""


@dataclass(frozen=True)
class Card:
    """The device, as far as a choice depends on it. `budget_bytes` is for the weights of all models together."""

    name: str
    budget_bytes: int | None
    is_gpu: bool = True
    capability: tuple[int, int] | None = None
    """Of an NVIDIA card; None for a CPU, for cards of other makers, and where it is unknown."""
    has_compiler: bool = False
    """Whether Triton, and a C compiler for what it generates, are here."""
    devices: int = 1
    """Devices of the worker, which are all of this kind."""


@dataclass(frozen=True)
class WeightTotals:
    """Bytes of the weights in memory: as they are, and with each of `CANDIDATES`. None where it is unknown."""

    plain_bytes: int | None
    candidate_bytes: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What was chosen for one field of the entry, and why."""

    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field} {self.value} ({self.reason})"


def decide(model: ModelSpec, card: Card, totals: WeightTotals) -> tuple[ModelSpec, tuple[Choice, ...]]:
    """Returns the entry without `auto`, and the choices. A field that the entry decides is not among them."""
    changes: dict[str, object] = {}
    choices: list[Choice] = []
    if model.quantization == "auto":
        chosen, reason = choose_quantization(card, totals)
        changes["quantization"] = chosen
        value = "none" if chosen is None else f"{chosen.kind} of {' and '.join(chosen.components)}"
        choices.append(Choice("quantization", value, reason))
    if model.attention == "auto":
        name, reason = choose_attention(card)
        changes["attention"] = name
        choices.append(Choice("attention", name, reason))
    if model.compile_blocks == "auto":
        is_compiled, reason = choose_compilation(model, card)
        changes["compile_blocks"] = is_compiled
        choices.append(Choice("compile_blocks", "true" if is_compiled else "false", reason))
    decided = model.model_copy(update=changes)
    if model.parallelism == "auto":
        parallelism, reason = choose_parallelism(decided, card.devices)
        choices.append(
            Choice("parallelism", "none" if parallelism is None else f"{parallelism.devices} devices", reason)
        )
        decided = decided.model_copy(update={"parallelism": parallelism})
    return decided, tuple(choices)


def choose_quantization(card: Card, totals: WeightTotals) -> tuple[Quantization | None, str]:
    """Returns the most exact of the ways to store the weights with which they fit; None if none of them fits."""
    if not card.is_gpu:
        return None, f"{card.name} is no GPU"
    if card.budget_bytes is None or totals.plain_bytes is None:
        return None, "the size of the weights is unknown here"
    of_all = f"of {_gigabytes(card.budget_bytes)} for weights on {card.name}"
    if totals.plain_bytes <= card.budget_bytes:
        return None, f"{_gigabytes(totals.plain_bytes)} {of_all}"
    for candidate, size_bytes in zip(CANDIDATES, totals.candidate_bytes, strict=False):
        if size_bytes is not None and size_bytes <= card.budget_bytes:
            return candidate, f"{_gigabytes(size_bytes)} instead of {_gigabytes(totals.plain_bytes)} {of_all}"
    return None, f"{_gigabytes(totals.plain_bytes)} {of_all}, and 8 bits would not fit either: they are offloaded"


def choose_attention(card: Card) -> tuple[AttentionName, str]:
    """Returns an exact kernel. A load tries it, and leaves attention to torch if the device lacks it."""
    if card.capability is None or card.capability < FUSED_ATTENTION:
        return "native", f"torch chooses on {card.name}"
    return "_native_cudnn", f"cuDNN has a kernel for {card.name}"


def choose_compilation(model: ModelSpec, card: Card) -> tuple[bool, str]:
    """Returns whether compiled blocks pay off: a server renders many clips of few shapes."""
    if card.capability is None or card.capability < COMPILED:
        return False, f"{card.name} is no NVIDIA card of capability 8.0 or later"
    if not card.has_compiler:
        return False, "Triton or a C compiler is missing"
    if model.offload in ("model", "group"):
        return False, f"offload {model.offload} moves weights between the layers"
    return True, f"{card.name} has the compiler that it needs"


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
