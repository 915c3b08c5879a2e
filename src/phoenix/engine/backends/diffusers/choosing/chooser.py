"""Decides the entries of one device, and knows the sizes of their weights.

Imports torch only on demand: `phoenix models here` reads it too.
"""

import shutil
from importlib.util import find_spec

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.choosing.choices import CANDIDATES, Card, Choice, WeightTotals, decide
from phoenix.engine.backends.diffusers.weight_sizes import WeightSizes, find_weight_sizes
from phoenix.engine.device import device_capability
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)


def card_of(device: str, name: str, budget_bytes: int | None, *, devices: int = 1) -> Card:
    """Returns what choices depend on. Imports torch for a GPU."""
    return Card(
        name,
        budget_bytes,
        is_gpu=device.startswith("cuda"),
        capability=device_capability(device),
        has_compiler=has_compiler(),
        devices=devices,
    )


def has_compiler() -> bool:
    """Returns whether torch can compile for a GPU: Triton generates code, and a C compiler links it."""
    return find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))


def weight_totals(model: ModelSpec) -> WeightTotals:
    """Returns the sizes of the weights by their files; by the entry, if the files are not here."""
    plain = model.model_copy(update={"quantization": None})
    if model.quantization != "auto":
        return WeightTotals(_total(model) or model.memory_bytes)
    totals = [_total(plain.model_copy(update={"quantization": candidate})) for candidate in CANDIDATES]
    return WeightTotals(_total(plain) or model.memory_bytes, tuple(totals))


def choose(model: ModelSpec, card: Card) -> tuple[ModelSpec, tuple[Choice, ...]]:
    """Returns the entry without `auto`, with the memory of its quantised weights, and the choices."""
    decided, choices = (model, ()) if model.is_decided else decide(model, card, weight_totals(model))
    if decided.quantization is None:
        return decided, choices
    return decided.model_copy(update={"memory_bytes": _total(decided) or decided.memory_bytes}), choices


class Chooser:
    """Decides each entry once, and logs what was chosen. Thread-safe: a race only looks at the files twice."""

    def __init__(self, card: Card, device: str) -> None:
        self._card, self._device = card, device
        self._decided: dict[str, ModelSpec] = {}
        self._sizes: dict[str, WeightSizes] = {}

    def decide(self, model: ModelSpec) -> ModelSpec:
        """Returns the entry as this device renders it."""
        if model.is_decided and model.quantization is None:
            return model
        key = model.model_dump_json()
        if key not in self._decided:
            decided, choices = self._tried(*choose(model, self._card))
            for choice in choices:
                _logger.info(
                    "chosen for this device",
                    model=model.id,
                    field=choice.field,
                    value=choice.value,
                    reason=choice.reason,
                )
            # Weights that are not here yet may be another size than the entry says: look again.
            if find_weight_sizes(decided) is None:
                return decided
            self._decided[key] = decided
        return self._decided[key]

    def _tried(self, decided: ModelSpec, choices: tuple[Choice, ...]) -> tuple[ModelSpec, tuple[Choice, ...]]:
        """Leaves attention to torch if the kernel that was chosen cannot act here."""
        chosen = next((choice for choice in choices if choice.field == "attention"), None)
        if chosen is None or decided.attention == "native":
            return decided, choices
        from phoenix.engine.backends.diffusers.denoising.denoisers import find_attention_refusal  # noqa: PLC0415
        from phoenix.engine.backends.diffusers.loading import LOAD_LOCK  # noqa: PLC0415

        with LOAD_LOCK:
            refusal = find_attention_refusal(decided, self._device)
        if refusal is None:
            return decided, choices
        others = tuple(choice for choice in choices if choice is not chosen)
        native = Choice("attention", "native", f"{decided.attention} cannot act: {refusal}")
        return decided.model_copy(update={"attention": "native"}), (*others, native)

    def find_sizes(self, model: ModelSpec, key: str) -> WeightSizes | None:
        """Returns the sizes of the weights; None if their files are not there yet. Equal keys have equal sizes."""
        if key not in self._sizes:
            found = find_weight_sizes(model)
            if found is None:
                return None
            self._sizes[key] = found
        return self._sizes[key]


def _total(model: ModelSpec) -> int | None:
    sizes = find_weight_sizes(model)
    return None if sizes is None else sizes.total_bytes
